"""Threads are as many as others leave cores for, and stay so many when a run goes on."""

import os
import resource
import time

import pytest
import torch

from forks import run
from manyviews.training import threads
from manyviews.training.threads import Moment, again, free, moment, settle


@pytest.fixture
def four(monkeypatch):
    """A process whose torch has four threads and whose user said nothing; what was set."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    seen = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: seen[-1])
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    return seen


@pytest.mark.parametrize(
    ("every", "busy", "wanted"),
    [(2, 0.0, 2), (2, 0.4, 2), (2, 1.0, 1), (2, 2.0, 1), (2, -0.3, 2), (16, 3.1, 13), (4, 9.0, 1)],
)
def test_others_keep_their_cores(every, busy, wanted):
    assert free(every, busy) == wanted


def test_a_busy_machine_gets_fewer_threads(four, monkeypatch):
    now = time.perf_counter()
    monkeypatch.setattr(threads, "moment", lambda: Moment(now + 2.0, 107.0))
    said = settle(Moment(now - 2.0, 100.0))  # 7 seconds of work in 4
    assert four == [4, 2]
    assert "other work keeps 1.8 of 4 cores busy, so 2 threads compute" in said


def test_a_free_machine_gets_all(four, monkeypatch):
    now = time.perf_counter()
    monkeypatch.setattr(threads, "moment", lambda: Moment(now + 2.0, 101.0))
    assert settle(Moment(now - 2.0, 100.0)) == ""
    assert four == [4]


def test_what_the_user_says_stays(four, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr(threads, "moment", lambda: Moment(time.perf_counter() + 9.0, 999.0))
    assert settle(Moment(time.perf_counter(), 0.0)) == ""
    again(1)
    assert four == [4]


def test_a_run_goes_on_with_as_many(four):
    for known in (None, "two", 0, 9):
        again(known)
    assert set(four) == {4}
    again(2)
    assert four[-1] == 2


def test_our_own_work_is_not_others_and_neither_is_nice_work(monkeypatch, tmp_path):
    stat = tmp_path / "stat"
    monkeypatch.setattr(threads, "_STAT", stat)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    monkeypatch.setattr(os, "nice", lambda _: 0)
    row = "cpu{} {} {} {} 5000 70 {} {} 800 900 900\n"
    stat.write_text(
        row.format("", *[9**9] * 5)
        + row.format(0, 100, 9**6, 20, 3, 4)  # user, nice, system, interrupts of two kinds
        + row.format(1, *[9**7] * 5)  # not one of ours
        + row.format(2, 200, 9**6, 0, 0, 0)
        + "intr 1 2 3\n"
    )
    first = moment()

    def work():
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass

    before = used()
    work()
    assert run(work) == 0  # in a process of ours
    passed = used() - before
    second = moment()
    assert first is not None
    assert second is not None
    assert first.others == pytest.approx(3.27 - before, abs=0.05)
    assert passed > 0.35
    assert first.others - second.others == pytest.approx(passed, abs=0.05)
    monkeypatch.setattr(os, "nice", lambda _: 10)  # our own work is under nice, and not counted
    niced = moment()
    assert niced is not None
    assert niced.others == pytest.approx(3.27)


def used():
    """Seconds that this process has computed, and those that it waited for."""
    whole = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in whole)


def test_a_system_that_does_not_say_keeps_all(four, monkeypatch, tmp_path):
    monkeypatch.setattr(threads, "_STAT", tmp_path / "missing")
    assert moment() is None
    assert settle(moment()) == ""
    assert four == [4]
