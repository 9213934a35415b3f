"""Numbers that mean nothing are refused before anything is read, made or trained."""

import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import manyviews
from manyviews.core import UsageError, settings
from manyviews.recipes import RECIPES
from manyviews.runs import ranges, saved
from manyviews.runs.settings import Facts

torch.set_num_threads(1)

NAN, INF = math.nan, math.inf
FACTS = Facts(
    **{"source": "DATA", "count": 900, "side": 28, "channels": 3, "device": "cpu", "cores": 2},
    **{"mean": (0.3,) * 3, "std": (0.3,) * 3},
)
ELSEWHERE = ("views.", "encoder.")
"""Checked by whoever makes views and encoders; the flags below are asked for all the same."""

NONSENSE = {
    "data.workers": (-7, -2),
    "data.batch_size": (0, -8),
    "data.channels": (0, -3),
    "data.mean": ((-0.5,), (123.7,), (NAN,)),
    "data.std": ((0.0,), (-0.2,), (58.4,), (INF,)),
    "data.max_bad": (-0.1, 1.5, NAN),
    "data.max_pixels": (0, -9),
    "optim.lr": (-0.1, NAN, INF),
    "optim.lr_per": (-256,),
    "optim.lr_end": (-0.1, 1.5),
    "optim.lr_start": (-0.1, 1.5),
    "optim.warmup": (-0.1, 1.5),
    "optim.weight_decay": (-1e-4, INF),
    "optim.weight_decay_end": (-0.5,),
    "optim.lr_1d": (-0.5,),
    "optim.momentum": (-0.1, 1.0),
    "optim.betas": ((0.9, 1.0), (-0.1, 0.9)),
    "optim.clip": (-3.0, NAN),
    "train.steps": (-5,),
    "train.epochs": (-5,),
    "train.minutes": (-5.0, NAN, INF),
    "train.accumulate": (0, -1),
    "train.checkpoint_every": (-1,),
    "train.keep": (0, -1),
    "train.log_every": (0, -1),
    "train.health_every": (0, -1),
    "probe.every": (-1.0, NAN),
    "encoder.image_size": (-8,),
    "encoder.channels": (-3,),
    "encoder.width": (-8,),
    "encoder.depth": (-1,),
    "encoder.grid": (-1, 0),
    "encoder.drop_path": (-0.1, 1.0, NAN),
    "views.global.count": (-2,),
    "views.global.size": (-2, 0),
    "views.global.scale": ((0.0, 1.0), (0.5, 0.1), (0.1, 1.5), (NAN, 1.0)),
    "views.global.ratio": ((0.0, 1.0), (2.0, 1.0), (1.0, INF)),
    "views.global.flip": (-0.1, 1.5, NAN),
    "views.global.jitter": (-0.1, 1.5),
    "views.global.brightness": (-0.1, INF),
    "views.global.contrast": (-0.1, INF),
    "views.global.saturation": (-0.1, INF),
    "views.global.hue": (-0.1, 0.6),
    "views.global.grey": (-0.1, 1.5),
    "views.global.blur": ((-0.1,), (1.5,), (0.5,) * 3),
    "views.global.sigma": ((0.0, 1.0), (2.0, 1.0), (0.1, INF)),
    "views.global.solarize": ((-0.1,), (1.5,)),
    "views.local.count": (-2,),
    "views.mask.ratio": (-0.1, 1.0),
    "seed": (2**63, -(2**63) - 1),
}
METHODS = {
    "simclr": {
        "temperature": (0.0, -0.1, NAN, INF),
        "hidden": (-1,),
        "out": (0, -1),
        "entropy_weight": (-0.1, NAN),
        "entropy_concentration": (0.0, -1.0, 1e6),
    },
    "moco": {
        "queue": (0, -4),
        "momentum.start": (-0.1, 1.1),
        "norm_groups": (-1,),
        "hidden": (-1,),
    },
    "byol": {"momentum.end": (-0.1, 1.1), "hidden": (0, -1), "out": (0,)},
    "swav": {
        "prototypes": (1, 0, -3),
        "sharpness": (0.0, -1.0),
        "rounds": (0, -1),
        "queue": (-1,),
        "queue_from": (-0.1, 1.1),
        "frozen_until": (-0.1, 1.1),
    },
    "dino": {
        "bottleneck": (0, -1),
        "teacher_temperature.start": (0.0, -1.0),
        "teacher_temperature.end": (0.0, INF),
        "teacher_temperature.fraction": (-0.1, 1.1),
        "center_momentum": (-0.1, 1.1),
    },
    "barlow": {"off_diagonal": (-0.1,)},
    "vicreg": {"invariance": (-1.0,), "variance": (-1.0,), "covariance": (-1.0,)},
    "er": {"concentration": (0.0, 1e6), "entropy": (-1.0,), "prototypes": (1,)},
    "mae": {"patch": (0, -4), "width": (0, -8), "depth": (0, -1), "heads": (0, -2)},
}
CASES = [("simclr", path, value) for path, values in NONSENSE.items() for value in values] + [
    (name, f"method.{field}", value)
    for name, fields in METHODS.items()
    for field, values in fields.items()
    for value in values
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i in range(16):
        pixels = random.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")
    return root


@pytest.mark.parametrize(("recipe", "path", "value"), CASES)
def test_a_number_that_means_nothing_is_refused(photos, tmp_path, monkeypatch, recipe, path, value):
    """By the name of its flag, with its value and what was wanted; before there is a run."""
    monkeypatch.chdir(tmp_path)
    tiny = {"train.steps": 1, "data.batch_size": 8, "encoder.width": 8} if recipe != "mae" else {}
    if path in ("train.epochs", "train.minutes", "train.steps"):
        tiny = {}
    with pytest.raises(UsageError) as error:
        manyviews.train(recipe, data=str(photos), out="run", overrides=tiny | {path: value})
    said = str(error.value)
    assert "\n" not in said
    assert f"--{path.replace('_', '-')}" in said
    numbers = value if isinstance(value, tuple) else (value,)
    assert any(f"{number:g}" in said or str(number) in said for number in numbers)
    assert any(word in said for word in ("wanted", "should", "Use ", "Leave ", "Give "))
    assert not list(tmp_path.glob("run/began.json"))


def numbers(value, path=""):
    """Dotted path -> value of every setting that is a number or several."""
    for field in dataclasses.fields(value):
        inner, name = getattr(value, field.name), f"{path}{field.name.rstrip('_')}"
        if dataclasses.is_dataclass(inner):
            yield from numbers(inner, f"{name}.")
        elif not isinstance(inner, bool | str):
            yield name, inner


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_recipes_set_is_allowed_and_no_number_goes_unchecked(recipe):
    run = RECIPES[recipe](FACTS)
    ranges.check(run)
    for path, value in numbers(run):
        if path.startswith(ELSEWHERE):
            continue
        broken = (NAN,) * len(value) if isinstance(value, tuple) else -(2**70)
        flag = path.replace("_", "-")
        with pytest.raises(UsageError, match=f"--{flag} is|{flag} should be one of"):
            ranges.check(
                settings.override(run, {path: broken})
                if path != "seed"
                else replace(run, seed=broken)
            )


@pytest.mark.parametrize(
    "given",
    [
        *({"data.workers": n} for n in (-1, 0, 3)),
        *({"optim.weight_decay_end": x, "optim.lr_1d": x} for x in (-1.0, 0.0, 0.1)),
        {"optim.lr": 0.0, "optim.lr_per": 0, "optim.warmup": 1.0, "optim.momentum": 0.0},
        {"data.mean": (0.0, 1.0, 0.5), "data.std": (1.0,), "data.max_bad": 1.0},
        {"train.checkpoint_every": 0, "probe.every": 0.0, "seed": -1, "method.hidden": 0},
    ],
)
def test_the_ends_of_ranges_are_allowed(given):
    ranges.check(settings.override(RECIPES["simclr"](FACTS), given))


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
