"""Every method, killed in mid-run and resumed with another number of workers, ends the same.

And what it ends with can be looked at.
"""

import random
import signal

import pytest

import killing
from forks import run
from manyviews.methods.catalog import METHODS


@pytest.fixture(scope="module", params=[*METHODS, "pirl-rotation"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def whole(name, tmp_path_factory):
    """A run that was not killed."""
    path = tmp_path_factory.mktemp(name) / "whole"
    assert run(lambda: killing.train(name, path)) == 0
    return path


def test_a_killed_run_ends_bit_for_bit_as_one_that_was_not(name, whole):
    cut = whole.parent / "cut"
    step = random.Random(name).randint(*killing.KILLED)
    assert run(lambda: killing.train(name, cut, kill_at=step, workers=1)) == -signal.SIGKILL
    assert run(lambda: killing.train(name, cut)) == 0
    assert killing.differences(cut, whole) == []


def test_encoders_and_projectors_of_a_run_can_be_looked_at(whole):
    assert run(lambda: killing.looked_at(whole)) == 0
