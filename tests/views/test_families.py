"""Law 7 of docs/architecture.md, for every family: its views are a function of
(seed, epoch, sample, family, view), whatever the process has drawn and whatever it makes beside.
"""

import dataclasses
import random
import re
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from forks import run
from manyviews.core import UsageError
from manyviews.core.inputs import Frames, LogMel, Pixels, Points
from manyviews.core.sample import WHOLE
from manyviews.data.direct import made, opened
from manyviews.views.catalog import FAMILIES
from manyviews.views.image.crops import CropMaker
from manyviews.views.image.whole import OfWhole
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Crops
from test_imports import FILES, dotted

FED = [Pixels(side=16), Frames(side=16, frames=4), LogMel(rate=4000, seconds=0.5), Points(count=16)]
GRID = (4, 4)


class Stream:
    """Numbers that depend on the sample and on the window alone."""

    def __init__(self, of, index):
        self.of, self.index = of, index
        self.span = 3.0 if of in ("video", "audio") else 0.0

    def read(self, window=WHOLE):
        count = max(1, window.count)
        draws = np.random.default_rng([self.index, round(1e6 * window.start), count])
        if self.of == "audio":
            return draws.normal(size=count).astype(np.float32)
        if self.of == "points":
            return draws.normal(size=(60, 9)).astype(np.float32)
        shape = (48, 40, 3) if self.of == "image" else (count, 48, 40, 3)
        return draws.integers(0, 256, shape, dtype=np.uint8)


def pipeline(family, name="a", seed=0):
    """For the first input that the family takes, with as many views as make two of each."""
    fields = {f.name for f in dataclasses.fields(family)}
    more = {"around": ""} if "around" in fields else {}
    more |= {"count": 2} if "count" in fields else {}
    more |= {"size": 16} if issubclass(family, Crops) else {}
    for fed, grid in product(FED, (GRID, (2, *GRID))):
        try:
            return Pipeline({name: family(to="it", **more)}, {"it": Fed(fed, grid)}, seed=seed)
        except UsageError:
            continue
    raise AssertionError(f"{family.__name__} takes none of these inputs")


def views(made_by, index, epoch=0):
    """Sample -> its views and cues, of one batch, as bytes."""
    of = made_by.streams[0]
    source = SimpleNamespace(open=lambda i: {of: Stream(of, i)}, streams=(of,), stack={})
    items, bad = opened(source, made_by, index, epoch=epoch)
    assert not bad
    found, cues = made(made_by, items, epoch=epoch)
    [name] = found
    pieces = [found[name], *(cues[cue] for cue in sorted(cues))]
    return {i: [p[row].tobytes() for p in pieces] for row, i in enumerate(items)}


def stir(seed):
    """Random numbers that the process draws in the meantime."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the state that no family may use
    torch.manual_seed(seed)


def impure(family):
    """In what the views of a family are no function of what they may depend on."""
    index, found = [3, 8, 11], []
    stir(0)
    first = views(pipeline(family), index, 2)
    stir(1)
    if views(pipeline(family), index, 2) != first:
        found.append("random numbers of the process")
    stir(0)
    if {i: views(pipeline(family), [i], 2)[i] for i in reversed(index)} != first:
        found.append("the batch")
    used = pipeline(family)
    views(used, [5], 1)
    if views(used, index, 2) != first:
        found.append("what was made before")

    def elsewhere():
        stir(2)
        assert views(pipeline(family), index, 2) == first

    if run(elsewhere) != 0:
        found.append("the process")
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_views_are_a_function_of_what_they_may_depend_on(name):
    assert impure(FAMILIES[name]) == []


@pytest.mark.parametrize("name", FAMILIES)
def test_views_differ_between_samples_seeds_epochs_and_names_of_families(name):
    family = FAMILIES[name]
    whole = [
        views(pipeline(family), [3], 2)[3],
        views(pipeline(family), [8], 2)[8],
        views(pipeline(family, seed=1), [3], 2)[3],
        views(pipeline(family), [3], 1)[3],
        views(pipeline(family, name="b"), [3], 2)[3],
    ]
    assert len({b"".join(one) for one in whole}) == len(whole)


class NoisyMaker(OfWhole):
    """Crops with noise from numpy's own generator."""

    cues = {}  # noqa: RUF012 - as makers have it

    def __init__(self, crops):
        self._crops, self.layout = crops, crops.layout

    def __call__(self, decoded, windows, index, epoch, out, around=()):
        self._crops(decoded, windows, index, epoch, out)
        noise = np.random.normal(0, 8, out.shape)  # noqa: NPY002 - what must be found
        out[:] = np.clip(out + noise, 0, 255)
        return {}


class CountingMaker(NoisyMaker):
    """Crops that are those of another epoch after each batch."""

    def __call__(self, decoded, windows, index, epoch, out, around=()):
        self.calls = getattr(self, "calls", 0) + 1
        return self._crops(decoded, windows, index, epoch + self.calls, out)


@pytest.mark.parametrize(
    ("made_by", "wanted"),
    [(NoisyMaker, "random numbers of the process"), (CountingMaker, "the batch")],
)
def test_the_law_finds_a_family_that_is_impure(made_by, wanted):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Planted(Crops):
        def maker(self, name, input, grid, *, seed):
            return made_by(CropMaker(self, name, input, grid, seed=seed))

    assert wanted in impure(Planted)


OF_THE_PROCESS = re.compile(
    r"(random|secrets|time|uuid)\..*|os\.(urandom|getpid|environ)|numpy\.random(\..*)?"
    r"|torch\.(rand\w*|manual_seed|default_generator|Generator|bernoulli|multinomial|normal)"
)


def draws_by_itself(source):
    """What a process knows and a sample does not: generators, clocks, numbers of processes."""
    return sorted(name for name in dotted(source) if OF_THE_PROCESS.fullmatch(name))


SEEDED = {"views.points.clouds", "views.points.plain"}
"""Draw a number or more for each point, too many to hash one by one: from a generator that is made
anew for each view, of a hashed state."""


def test_views_draw_from_the_room_for_it_alone():
    made = {"numpy.random", "numpy.random.Generator", "numpy.random.default_rng"}
    for path, module in FILES.items():
        if module.startswith("views."):
            found = set(draws_by_itself(path.read_text()))
            assert found <= (made if module in SEEDED else set()), module


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("import numpy as np\nx = np.random.normal(0, 1)", True),
        ("from numpy.random import default_rng\nx = default_rng(3)", True),
        ("import random\nx = random.random()", True),
        ("import torch\nx = torch.randn(3)", True),
        ("import time\nseed = time.time_ns()", True),
        ("from manyviews.views.draw import draw\nimport numpy as np\nx = np.clip(y, 0, 1)", False),
    ],
)
def test_the_law_finds_who_draws_by_itself(source, bad):
    assert bool(draws_by_itself(source)) == bad
