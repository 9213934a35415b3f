"""A training that waits for its data says so, once, and not while it starts."""

import logging
import time

from manyviews.runs.folder.lock import RunDirectory
from manyviews.training import waiting
from manyviews.training.loop import fit
from manyviews.training.settings import Train
from manyviews.training.waiting import Waiting
from toy import Toy, batches, job


def said(waits, *, each=2.0):
    """(step, share) of each warning, where step i waits waits[i] of `each` seconds."""
    look, found, waited = Waiting(), [], 0.0
    for step, wait in enumerate(waits, 1):
        waited += wait
        if share := look.share(step, seconds=step * each, waited=waited):
            found.append((step, round(share, 3)))
    return found


def test_more_than_a_tenth_of_the_time_is_said_once():
    assert said([0.5] * 300) == [(41, 0.25)]
    assert said([0.21] * 300) == [(41, 0.105)]
    assert said([0.19] * 300) == []


def test_a_look_is_twenty_steps_and_thirty_seconds_long():
    [(step, _)] = said([0.005] * 3000, each=0.02)
    assert step >= 21 + 30 / 0.02
    [(step, _)] = said([5.0] * 60, each=20.0)
    assert step == 41


def test_the_start_does_not_count():
    assert said([2.0] * 20 + [0.0] * 300) == []


def test_a_wait_that_begins_late_is_said():
    [(step, _)] = said([0.0] * 200 + [1.0] * 100)
    assert 200 < step < 250


def test_training_says_why(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(waiting, "_SECONDS", 0.05)

    def slow(start, stop):
        for batch in batches()(start, stop):
            time.sleep(0.01)
            yield batch

    def train(name, made):
        caplog.clear()
        with RunDirectory(tmp_path / name) as directory, caplog.at_level(logging.WARNING):
            fit(
                job(
                    directory,
                    Toy(),
                    train=Train(precision="fp32", steps=80),
                    batches=made,
                    why_waiting=lambda: "Because.",
                )
            )
        return [record.getMessage() for record in caplog.records]

    [line] = train("slow", slow)
    assert line.endswith(" % of the time waits for data. Because.")
    assert 10 < float(line.split()[0]) <= 100
    assert "waits for data" in (tmp_path / "slow" / "log.txt").read_text()
    monkeypatch.setattr(waiting, "_SHARE", 0.99)
    assert train("fast", batches()) == []
