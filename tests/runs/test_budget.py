"""What minutes and passes come to, in words."""

import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from manyviews.diagnosis.verdict import FEW
from manyviews.encoders.choice import PASSES
from manyviews.recipes import RECIPES
from manyviews.runs import budget
from manyviews.runs import train as training
from manyviews.runs.facts import CORE, facts, typical_facts


def photos(count, speed=0.0, recipe="simclr", **facts):
    """A recipe's run on so many photographs, without a GPU."""
    seen = replace(typical_facts(), device="cpu", count=count, speed=speed)
    return RECIPES[recipe](replace(seen, **facts))


def lasting(run, **duration):
    return replace(
        run, train=replace(run.train, **{"steps": 0, "epochs": 0, "minutes": 0.0} | duration)
    )


def test_minutes_are_steps_and_passes():
    run = photos(803)
    said, little = budget.words(run, samples=803, speed=10.0, device="cuda")
    assert said == (
        "20 minutes are about 47 steps, 15 passes over your 803 images; 100 passes take 2 h 14 min."
    )
    # a pass is 803 images, though an epoch is 3 batches of 256: 80.3 s, and 50 of them 67 minutes
    assert little.startswith("That is little: below 50 passes")
    assert "--train.minutes 67." in little


def test_one_minute_is_no_minutes():
    [said, _] = budget.words(
        lasting(photos(803), minutes=1.0), samples=803, speed=10.0, device="cuda"
    )
    assert said.startswith("1 minute is about 2 steps, 0.7 passes over your 803 images")


def test_without_a_gpu_the_small_encoder_s_time_stands_beside_it():
    said = budget.words(photos(803), samples=803, speed=10.0, device="cpu")[0]
    assert said.endswith("100 passes take 2 h 14 min, with resnet_small at 32 px 5 min.")
    quick = photos(803, speed=1e9)  # which has it already
    assert quick.encoders.image.name == "resnet_small"
    assert "with resnet_small" not in budget.words(quick, samples=803, speed=9.0, device="cpu")[0]


@pytest.mark.parametrize("duration", [{"epochs": 200}, {"steps": 600}])
def test_passes_are_time(duration):
    [said] = budget.words(lasting(photos(803), **duration), samples=803, speed=100.0, device="cuda")
    # 600 steps of 256 are 191 times 803
    assert said.startswith("191 passes over your 803 images take about 26 min; 100 passes take 13")


def test_few_passes_are_said_to_be_few_and_many_are_not():
    run = lasting(photos(803), epochs=52)  # each leaves out 35 of the images
    assert "--train.epochs 53" in budget.words(run, samples=803, speed=9.0, device="cuda")[1]
    assert len(budget.words(lasting(run, epochs=53), samples=803, speed=9.0, device="cuda")) == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"), (40, "40 s"), (720, "12 min"), (8040, "2 h 14 min"), (7200, "2 h"),
        (3 * 86400, "3 days"),
    ],
)  # fmt: skip
def test_times_are_said_as_people_say_them(seconds, words):
    assert budget.time_of(seconds) == words


def test_the_estimate_is_the_chooser_s():
    speed = 4e10
    run = photos(100, speed=speed)
    assert run.encoders.image.name == "resnet18"
    rate = budget.estimate(run, speed)
    # ResNet-18 has 1.8 billion multiply-adds at 224 px, of which two views go forward and back
    assert rate == pytest.approx(speed / (6 * 1.81e9 * (96 / 224) ** 2), rel=1e-6)
    assert budget.estimate(photos(100, recipe="mae"), speed) == 0.0


@pytest.mark.parametrize("verb", ["train", "demo"])
def test_the_flag_that_is_named_is_one_of_the_verb_that_was_typed(verb, tmp_path):
    began = {"command": f"manyviews {verb} ...", "digest": "0", "images": 803}
    (tmp_path / "began.json").write_text(json.dumps(began))
    run = SimpleNamespace(run=photos(803), source=range(803), device=torch.device("cpu"))
    [_, little] = training._budget(run, tmp_path, 10.0)
    assert (": --train.minutes 67." in little) == (verb == "train")
    assert (": --minutes 67." in little) == (verb == "demo")


def test_the_encoder_is_chosen_by_the_minutes_that_a_flag_gives():
    run = photos(100, speed=4e10)
    assert photos(100, speed=4e10, minutes=20.0).encoders == run.encoders
    assert photos(100, speed=4e10, minutes=0.5).encoders.image.name == "resnet_small"
    assert photos(100, speed=4e8).encoders.image.name == "resnet_small"
    assert photos(100, speed=4e8, minutes=2000.0).encoders == run.encoders
    assert photos(100, speed=4e10, minutes=math.inf).encoders == run.encoders


def test_what_is_little_is_the_verdict_s():
    assert PASSES == FEW


def test_a_machine_without_a_gpu_has_a_speed(tmp_path, monkeypatch):
    monkeypatch.setattr("manyviews.runs.facts.cores", lambda: 3)
    assert facts("builtin:fashion").speed == 3 * CORE
    assert typical_facts().speed == 0.0


@pytest.mark.parametrize(
    ("count", "speed", "name", "side"),
    [
        (300, 4e10, "resnet18", 96),
        (803, 4e10, "resnet_small", 32),
        (10_000, 4e10, "resnet_small", 32),
        (10_000, 0.0, "resnet18", 96),
        (10_000, 4e13, "resnet18", 96),
    ],
)
def test_the_encoder_follows_from_speed_and_number_of_images(count, speed, name, side, caplog):
    caplog.set_level("INFO", "manyviews")
    chosen = photos(count, speed=speed).encoders.image
    assert (chosen.name, chosen.input.side) == (name, side)
    if name == "resnet_small":
        assert f"passes over your {count:,} images in 20 minutes" in caplog.text
        assert "--encoder.name resnet18 --encoder.image-size 96" in caplog.text
        assert not re.search(r"\de\+\d", caplog.text)  # 530 passes, not 5.3e+02
