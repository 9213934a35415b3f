"""Threads wait asleep unless the user says otherwise; see bench/contention.py for what it gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import manyviews

SOURCE = str(Path(manyviews.__file__).parents[1])
NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def said(code: str, **given: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, "PYTHONPATH": SOURCE, **given}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout + done.stderr


SHOW = f"import manyviews, os; print([os.environ.get(name) for name in {NAMES}])"


def test_they_sleep() -> None:
    assert said(SHOW) == "['PASSIVE', None, None]\n"


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_set_stays(name: str) -> None:
    wanted = ["7" if each == name else None for each in NAMES]
    assert said(SHOW, **{name: "7"}) == f"{wanted}\n"


@pytest.mark.parametrize("first", ["import manyviews", "from manyviews.verbs import cli"])
def test_openmp_hears_of_it(first: str) -> None:
    """What libgomp itself says that it goes by, whichever module of ours is asked for first."""
    code = f"{first}; import torch; torch.ones(9).sum()"
    told = said(code, OMP_DISPLAY_ENV="VERBOSE")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in told
    assert "GOMP_SPINCOUNT = '0'" in told
