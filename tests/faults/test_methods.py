"""Every method, killed in mid-run and resumed with another number of workers, ends the same.

And what it ends with can be looked at.
"""

import random
import signal
from functools import cache

import pytest

import killing
from forks import run
from manyviews.methods.catalog import METHODS
from manyviews.recipes import streams_of


@pytest.fixture(scope="module", params=[*METHODS, "pirl-rotation"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Where data of some streams are, made once for all methods."""

    @cache
    def of(streams):
        folder = tmp_path_factory.mktemp("-".join(streams)) / "data"
        killing.made(streams, folder)
        return folder

    return of


@pytest.fixture(scope="module")
def whole(name, data, tmp_path_factory):
    """A run that was not killed."""
    path = tmp_path_factory.mktemp(name) / "whole"
    (path.parent / "data").symlink_to(data(streams_of(name)))
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
