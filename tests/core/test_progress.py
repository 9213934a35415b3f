"""What is seen while one waits, on a terminal and in a pipe."""

import itertools
import logging
import sys

import pytest

from manyviews.core import progress
from manyviews.verbs.cli import main


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a second whenever it is read."""
    seconds = itertools.count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(seconds)))


def test_a_pipe_gets_plain_lines_ever_less_often(capsys, clock):
    with progress.bar("reading") as tell:
        for done in range(1, 201):
            tell(done, 200)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "reading: 2 of 200"
    at = [int(line.split()[1]) for line in said]
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert gaps[:4] == [4, 8, 16, 32]
    assert set(gaps[4:]) == {60}


def test_what_takes_under_two_seconds_says_nothing(capsys):
    with progress.bar("reading") as tell:
        tell(1, 1)
    assert capsys.readouterr().err == ""


def test_a_phase_has_one_line_in_a_pipe(capsys):
    with progress.phase("measuring"):
        pass
    assert capsys.readouterr().err == "measuring ...\n"


def test_what_has_torch_already_is_not_told_that_it_loads(capsys):
    import torch  # noqa: F401

    progress.say_loading()
    assert capsys.readouterr().err == ""


def test_a_warning_goes_where_standard_error_leads_at_the_time(capsys, monkeypatch):
    with pytest.raises(SystemExit):
        main(["resume", "nowhere"])
    capsys.readouterr()
    lines = []

    class Proxy:
        """As rich puts in the place of stderr while a bar is shown."""

        write = staticmethod(lines.append)
        flush = staticmethod(lambda: None)

    monkeypatch.setattr(sys, "stderr", Proxy())
    logging.getLogger("manyviews").warning("1 of 2 could not be read")
    assert lines == ["1 of 2 could not be read\n"]
