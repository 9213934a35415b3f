"""Numbers that mean nothing are refused before anything is read, made or trained."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

import manyviews
from manyviews.core import UsageError, settings
from manyviews.recipes import RECIPES
from manyviews.runs import saved
from manyviews.runs.settings import Facts

torch.set_num_threads(1)

NAN, INF = math.nan, math.inf
INPUT = "encoders.image.input."
FACTS = Facts(
    **{"source": "DATA", "count": 900, "side": 28, "channels": 3, "device": "cpu", "cores": 2},
    **{"mean": (0.3,) * 3, "std": (0.3,) * 3},
)
PAIRS = {
    "views.global.scale": ((0.0, 1.0), (0.5, 0.1), (0.1, 1.5), (NAN, 1.0)),
    "views.global.ratio": ((0.0, 1.0), (2.0, 1.0), (1.0, INF)),
    "views.global.sigma": ((0.0, 1.0), (2.0, 1.0), (0.1, INF)),
    "views.global.blur": ((-0.1,), (1.5,), (0.5,) * 3),
    "views.global.solarize": ((-0.1,), (1.5,)),
    "encoders.image.input.mean": ((0.5,) * 2,),
    "encoders.image.input.std": ((0.5,) * 4,),
}
"""What only several numbers together can have wrong."""
PAIRED = {path.rpartition(".")[2] for path in PAIRS if path.startswith("views.")}
PAIRED |= {"snr", "decay", "crop_time", "crop_bands", "centres", "radii", "neighbours"}
"""Checked with one another by their settings, with tests beside those."""
CHOICES = {"method.layers", "method.mixed.simclr.layers", "method.tasks.contrast.layers"}
CHOICES |= {"method.tasks.flow_contrast.layers"}
CHOICES |= {f"encoders.{name}.layers" for name in ("video", "narrow", "broad", "flow")}
"""Whole numbers of which a type lists the few that may be."""


def outside(range_, value):
    """Numbers just outside a range, of the type that a setting has."""
    whole = type(value[0] if isinstance(value, tuple) else value) is int
    step = 1 if whole else 1e-3 * max(1.0, abs(range_.low))
    low = range_.low if range_.above else range_.low - step
    if low == range_.off:
        low -= step
    found = [low]
    if math.isfinite(range_.high):
        found.append(range_.high if range_.below else range_.high + (1 if whole else 1e-3))
    made = [int(x) for x in found] if whole else [*map(float, found), NAN, INF]
    return [(x,) * len(value) if isinstance(value, tuple) else x for x in made]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i in range(16):
        pixels = random.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")
    return root


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_number_has_a_range_and_what_is_just_outside_is_refused_by_its_flag(recipe):
    run = RECIPES[recipe](FACTS)
    settings.check(run)
    for path, value, range_ in settings.numbers(run):
        if path.rpartition(".")[2] in PAIRED or path in CHOICES or value == ():
            continue
        assert range_ is not None, path
        assert all(range_.holds(x) for x in (value if isinstance(value, tuple) else (value,))), path
        for broken in outside(range_, value):
            with pytest.raises(UsageError) as error:
                settings.check(settings.override(run, {path: broken}))
            said = str(error.value)
            assert said.startswith(f"--{path.replace('_', '-')} is ")
            assert "wanted" in said
            assert "\n" not in said


@pytest.mark.parametrize(("path", "value"), [(p, v) for p, vs in PAIRS.items() for v in vs])
def test_numbers_that_do_not_go_together_are_refused(path, value):
    run = RECIPES["simclr"](FACTS)
    with pytest.raises(UsageError, match=f"^--{path} is .*; wanted"):
        settings.check(settings.override(run, {path: value}))


def test_a_number_that_means_nothing_is_refused_before_there_is_a_run(
    photos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for path, value in (("data.workers", -7), ("optim.lr", NAN), ("method.temperature", 0.0)):
        with pytest.raises(UsageError, match=f"^--{path} is"):
            manyviews.train("simclr", data=str(photos), out="run", overrides={path: value})
    assert not list(tmp_path.glob("run/began.json"))


@pytest.mark.parametrize(
    "given",
    [
        *({"data.workers": n} for n in (-1, 0, 3)),
        *({"optim.weight_decay_end": x, "optim.lr_1d": x} for x in (-1.0, 0.0, 0.1)),
        {"optim.lr": 0.0, "optim.lr_per": 0, "optim.warmup": 1.0, "optim.momentum": 0.0},
        {INPUT + "mean": (0.0, 1.0, 0.5), INPUT + "std": (1.0,), "data.max_bad": 1.0},
        {"train.checkpoint_every": 0, "probe.every": 0.0, "seed": -1, "method.hidden": 0},
    ],
)
def test_the_ends_of_ranges_are_allowed(given):
    settings.check(settings.override(RECIPES["simclr"](FACTS), given))


def test_a_run_whose_settings_were_changed_by_hand_is_not_resumed(tmp_path):
    run = settings.override(RECIPES["simclr"](FACTS), {"data.workers": -7})
    (tmp_path / "config.yaml").write_text(saved.to_yaml(run))
    (tmp_path / "began.json").write_text('{"command": "", "digest": "", "images": 1}')
    with pytest.raises(UsageError, match=r"^--data\.workers is -7; wanted a number of processes"):
        manyviews.resume(tmp_path)


@pytest.mark.parametrize(
    ("verb", "given", "words"),
    [
        ("embed", {"out": "x.parquet", "thumbnails": -3}, "--thumbnails is -3; wanted 0 or more"),
        ("embed", {"out": "x.npy", "image_size": -5}, "--image-size is -5; wanted 0 or more"),
        ("evaluate", {"image_size": -5, "encoder": "resnet18"}, "--image-size is -5; wanted 0"),
        ("diagnose", {"image_size": -5}, "--image-size is -5; wanted 0"),
    ],
)
def test_numbers_of_other_verbs_are_refused_too(photos, verb, given, words):
    with pytest.raises(UsageError, match=words):
        getattr(manyviews, verb)("timm:resnet18", data=str(photos), **given)


def test_a_seed_that_no_generator_takes_is_refused(tmp_path):
    with pytest.raises(UsageError, match=f"--seed is {10**20}; wanted a whole number of 64 bits"):
        manyviews.demo(out=tmp_path / "demo", seed=10**20)
