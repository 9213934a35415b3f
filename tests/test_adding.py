"""Adding is additive: a new stream, input, family, encoder and method are entries in tables.

What is made here trains, resumes exactly, is saved, embedded and evaluated, and no file of the
package knows of it.
"""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import manyviews
from manyviews.core import Encoder, Features, Method, Step
from manyviews.core.inputs import Pixels
from manyviews.core.ranges import Count
from manyviews.core.sample import WHOLE, Layout, Unreadable, Window
from manyviews.core.settings import struct
from manyviews.data.settings import Data
from manyviews.data.streams import files
from manyviews.data.streams.files import Form
from manyviews.encoders import catalog as encoders
from manyviews.encoders.catalog import Kind
from manyviews.methods import catalog as methods
from manyviews.methods.catalog import Entry
from manyviews.recipes import RECIPES
from manyviews.runs.assemble import assemble
from manyviews.runs.folder.read import saved_run
from manyviews.runs.settings import Run
from manyviews.training.settings import Optim, Train
from manyviews.verbs.train import execute
from manyviews.views import by_input
from manyviews.views import catalog as views

LENGTH = 8


class Column:
    """A stream: a column of numbers in a text file, ten a second."""

    def __init__(self, path):
        try:
            self.numbers = np.array(Path(path).read_text().split(), dtype=np.float32)
        except ValueError as error:
            raise Unreadable(path, "a line is no number") from error
        self.span = len(self.numbers) / 10

    def read(self, window=WHOLE):
        start = round(window.start * 10)
        return self.numbers[start : start + window.count]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """An input: so many numbers, less their mean over their deviation."""

    length: Count = LENGTH
    mean: float = 1.0
    std: float = 2.0

    @property
    def shape(self):
        return (self.length,)

    def finish(self, raw):
        return (raw - self.mean) / self.std

    def restore(self, x):
        return x * self.std + self.mean

    def picture(self, x):
        rows = np.tile(self.restore(x.detach().cpu()).numpy(), (self.length, 1))
        return np.uint8(np.clip(rows * 20, 0, 255))[..., None]


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """A family: pieces of a column, from anywhere with noise, or from its beginning."""

    to: str = "column"
    of: str = "column"
    count: int = 2
    noise: float = 0.1
    around: str = ""

    def maker(self, name, input, grid, *, seed):
        return PieceMaker(self, input.length, seed)


class PieceMaker:
    cues: Mapping = {}

    def __init__(self, plan, length, seed):
        self.plan, self.length, self.seed = plan, length, seed
        self.layout = Layout(plan.count, (length,), np.dtype(np.float32))

    def _rng(self, index, epoch):
        return np.random.default_rng([self.seed, epoch, index])

    def windows(self, index, epoch, span, around=()):
        latest = span - self.length / 10 if self.plan.noise else 0.0
        starts = self._rng(index, epoch).uniform(0, latest, self.plan.count)
        return [Window(start, start + self.length / 10, self.length) for start in starts]

    def __call__(self, decoded, windows, index, epoch, out, around=()):
        noise = self._rng(index, epoch).normal(size=out.shape) * self.plan.noise
        out[:] = np.stack(decoded) + noise
        return {}


def whole(to):
    """The evaluation view."""
    return Pieces(to=to, count=1, noise=0.0)


@dataclass(frozen=True, kw_only=True)
class LineConfig:
    input: Numbers = field(default_factory=Numbers)
    width: Count = 6
    name: str = "line"


class Line(Encoder):
    def __init__(self, config):
        super().__init__()
        self.input, self.dim, self.grid = config.input, config.width, (1,)
        self.layer = nn.Linear(config.input.length, config.width)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        out = self.layer(x)
        return Features(out, out[:, None])


@dataclass(frozen=True, kw_only=True)
class AlikeConfig:
    weight: float = 1.0


class Alike(Method):
    """Two pieces of one column are alike, and columns differ."""

    needs: Mapping = {"pieces": 2}

    def __init__(self, given, config):
        super().__init__(given)
        self.online, self.config = given.encoder, config

    def forward(self, batch, clock):
        x = batch.views["pieces"]
        out = self.online(x.flatten(0, 1)).pooled.unflatten(0, x.shape[:2])
        alike = (out[:, 0] - out[:, 1]).square().mean()
        differ = (1 - out.std(dim=0)).clamp(min=0).mean()
        losses = {"alike": alike, "differ": self.config.weight * differ}
        return Step(losses, self.embedded(out), projection=out)


@dataclass(frozen=True, kw_only=True)
class Reversed(Pieces):
    """A single augmentation: the evaluation view backwards."""

    def maker(self, name, input, grid, *, seed):
        return BackwardsMaker(self, input.length, seed)


class BackwardsMaker(PieceMaker):
    def __call__(self, decoded, windows, index, epoch, out, around=()):
        out[:] = np.stack(decoded)[:, ::-1]
        return {}


def recipe(seen):
    """Columns, learnt from pieces of them."""
    return settings(seen.source)


recipe.STREAMS = ("column",)


@pytest.fixture
def added(monkeypatch):
    """All that the package is told of them."""
    monkeypatch.setitem(RECIPES, "alike", recipe)
    monkeypatch.setitem(
        by_input.ALTERED, Numbers, lambda fed: {"backwards": Reversed(to="column", count=1)}
    )
    monkeypatch.setitem(
        files.STREAMS, ".column", Form(("column",), lambda p: {"column": Column(p)})
    )
    monkeypatch.setitem(encoders.KINDS, "line", Kind(LineConfig, Line))
    monkeypatch.setitem(views.FAMILIES, "pieces", Pieces)
    monkeypatch.setitem(by_input.PLAIN, Numbers, whole)
    monkeypatch.setitem(methods.METHODS, "alike", Entry(Alike, AlikeConfig))


def make(folder, *, count=24):
    """Columns of two kinds: rising, and falling."""
    folder.mkdir()
    for i in range(count):
        rng = np.random.default_rng(i)
        numbers = np.linspace(0, 3 if i % 2 else -3, 20) + rng.normal(size=20) * 0.1
        (folder / f"{i:02}.column").write_text("".join(f"{x}\n" for x in numbers))
    return folder


def settings(data):
    return Run(
        recipe="alike",
        method=AlikeConfig(),
        encoders=struct("Encoders", {"column": LineConfig()}),
        views=struct("Views", {"pieces": Pieces()}),
        data=Data(source=str(data), batch_size=8, workers=1),
        optim=Optim(name="adamw", lr=1e-2),
        train=Train(steps=6, checkpoint_every=2, keep=9, log_every=1, precision="fp32"),
    )


def test_what_is_added_trains_resumes_exactly_embeds_and_evaluates(added, tmp_path):
    run = tmp_path / "run"
    assert execute(settings(make(tmp_path / "data")), out=run).status == "done"
    assert (run / "report.html").stat().st_size > 10_000
    assert saved_run(run) == settings(tmp_path / "data")

    again = tmp_path / "again"
    shutil.copytree(run, again)
    for step in (4, 6):
        shutil.rmtree(again / "checkpoints" / f"step_{step}")
    (again / "checkpoints" / "latest").write_text("step_2")
    (again / "encoder.safetensors").unlink()
    assert manyviews.resume(again).steps == 6
    ends = [load_file(r / "checkpoints" / "step_6" / "method.safetensors") for r in (run, again)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])

    folder, table = tmp_path / "data", tmp_path / "labels.csv"
    manyviews.embed(run, data=str(folder), out=tmp_path / "x.npy")
    features = np.load(tmp_path / "x.npy")
    assembly = assemble(saved_run(run))
    _, seen = assembly.look(range(24))
    with torch.no_grad():
        wanted = manyviews.load(run)(seen["column"][:, 0])
    torch.testing.assert_close(torch.from_numpy(features), wanted)

    rows = [f"{folder}/{i:02}.column,{i % 2},{'train' if i < 16 else 'test'}\n" for i in range(24)]
    table.write_text("path,label,split\n" + "".join(rows))
    [measured] = manyviews.evaluate(run, data=str(table)).found
    assert measured.result.value > 0.9
    assert list(measured.beside) == ["untrained encoder"]
    found = manyviews.diagnose(run, sample=24, views=2, clusters=2)
    assert found.images == 24
    assert found.spaces["encoder"]["view_consistency"] > 0
    assert list(found.invariance["encoder"]) == ["backwards"]


def test_a_recipe_that_is_added_is_one_for_every_verb(added, tmp_path, capsys):
    data, runs = make(tmp_path / "data"), [tmp_path / "one", tmp_path / "two"]
    for seed, run in enumerate(runs):
        manyviews.train("alike", data=str(data), out=run, overrides={"seed": seed})
        manyviews.diagnose(run, sample=24, views=2, clusters=2)
    said = manyviews.doctor(str(data), "alike").lines()
    assert any(line.startswith("that takes line") for line in said)
    rows = manyviews.compare(runs).table.rows
    assert [row.words["recipe"] for row in rows] == ["alike"] * 2
    manyviews.export(runs[0], format="safetensors", out=tmp_path / "encoder.safetensors")
    assert manyviews.load(tmp_path / "encoder.safetensors").input == Numbers()
    assert "alike" in manyviews.listing("recipes").items
    assert "line" in manyviews.listing("encoders").items


@dataclass(frozen=True, kw_only=True)
class FlatConfig:
    """One layer over all pixels."""

    input: Pixels = field(default_factory=Pixels)
    width: Count = 6
    name: str = "flat"


class Flat(Encoder):
    def __init__(self, config):
        super().__init__()
        self.input, self.dim, self.grid = config.input, config.width, (1, 1)
        self.layer = nn.Linear(math.prod(config.input.shape), config.width)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        out = self.layer(x.flatten(1))
        return Features(out, out[:, None])


def test_an_encoder_of_images_that_is_added_can_be_chosen_by_its_name(monkeypatch, tmp_path):
    monkeypatch.setitem(encoders.KINDS, "flat", Kind(FlatConfig, Flat))
    given = {"encoder.name": "flat", "train.steps": 2, "data.batch_size": 8, "method.hidden": 8}
    for run, start in (("one", ""), ("two", tmp_path / "one")):
        early = given if not start else {k: v for k, v in given.items() if k != "encoder.name"}
        manyviews.train(
            "simclr", data="builtin:fashion", out=tmp_path / run, start=str(start), overrides=early
        )
        assert isinstance(manyviews.load(tmp_path / run).config, FlatConfig)
    assert "flat" in encoders.names()


def test_a_sample_that_cannot_be_read_is_set_aside(added, tmp_path):
    data = make(tmp_path / "data")
    (data / "07.column").write_text("1\nno\n")
    result = execute(settings(data), out=tmp_path / "run")
    assert (result.status, result.unreadable) == ("done", 1)
