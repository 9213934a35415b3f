"""Every method, killed in mid-run and resumed with another number of workers, ends the same."""

import random
import signal

import pytest

import killing
from forks import run
from manyviews.methods.catalog import METHODS


@pytest.mark.parametrize("name", [*METHODS, "pirl-rotation"])
def test_a_killed_run_ends_bit_for_bit_as_one_that_was_not(name, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    step = random.Random(name).randint(*killing.KILLED)
    assert run(lambda: killing.train(name, whole)) == 0
    assert run(lambda: killing.train(name, cut, kill_at=step, workers=1)) == -signal.SIGKILL
    assert run(lambda: killing.train(name, cut)) == 0
    assert killing.differences(cut, whole) == []
