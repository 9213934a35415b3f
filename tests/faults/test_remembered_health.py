"""A resumed run goes on from the health that it had: its counts, its alarms, its ranks."""

import json
import os
import signal

import pytest
import torch

from manyviews.core import Step
from manyviews.diagnosis.checkup import RollingRank
from manyviews.runs.folder.lock import RunDirectory
from manyviews.runs.watch import Watch
from manyviews.training.job import Remembering
from manyviews.training.loop import fit
from manyviews.training.settings import Train
from toy import Toy, job

STEPS = 12


class Watched(Toy):
    """Toy, which sends itself SIGTERM in one step and may give every image the same embedding."""

    def __init__(self, *, stop_in=-1, constant=False):
        super().__init__()
        self.stop_in, self.constant = stop_in, constant

    def forward(self, batch, clock):
        if clock.step == self.stop_in:
            os.kill(os.getpid(), signal.SIGTERM)
        step = super().forward(batch, clock)
        embedding = dict(step.embedding)
        if self.constant:
            embedding["image"] = torch.ones_like(embedding["image"])
        return Step(step.losses, embedding=embedding, fresh=step.fresh)


def train(path, *, on_collapse="warn", **changes):
    settings = Train(steps=STEPS, precision="fp32", log_every=1, health_every=1, checkpoint_every=5)
    with RunDirectory(path) as directory:
        watch = Watch(directory, on_collapse=on_collapse)
        outcome = fit(
            job(directory, Watched(**changes), train=settings, monitors=[watch], resume=True)
        )
    return outcome, watch


def lines(path, kind):
    found = [json.loads(x) for x in (path / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in x.items() if k != "seconds"} for x in found if x["kind"] == kind]


@pytest.fixture
def soon(monkeypatch):
    """A rank is measured from 16 rows on: the toy's batches have 8."""
    monkeypatch.setattr(RollingRank, "least", 16)


@pytest.mark.parametrize("after", [1, 2, 6, 9])
def test_health_lines_of_a_resumed_run_are_those_of_an_uninterrupted_one(tmp_path, soon, after):
    train(tmp_path / "whole")
    assert train(tmp_path / "cut", stop_in=after - 1)[0].status == "interrupted"
    train(tmp_path / "cut")
    whole, cut = (lines(tmp_path / name, "health") for name in ("whole", "cut"))
    assert len(whole) == STEPS
    assert whole == cut
    assert all("rank_embedding" in line for line in whole[after:] if line["step"] > 5)


def test_the_watch_remembers():
    assert isinstance(Watch(RunDirectory("x"), on_collapse="warn"), Remembering)


def test_alarms_are_counted_on_and_written_once(tmp_path):
    """Three wrong checks in a row raise one, but for that before anything was trained."""
    train(tmp_path / "whole", constant=True)
    train(tmp_path / "cut", constant=True, stop_in=2)
    assert not lines(tmp_path / "cut", "alarm")
    train(tmp_path / "cut", constant=True, stop_in=6)
    _, watch = train(tmp_path / "cut", constant=True)
    whole = lines(tmp_path / "whole", "alarm")
    assert [(x["name"], x["step"]) for x in whole] == [("constant_embedding", 3)]
    assert lines(tmp_path / "cut", "alarm") == whole
    assert len(watch.said) == 1  # though it was raised in an earlier part


def test_on_collapse_stop_counts_on_and_stops_again(tmp_path):
    settings = {"on_collapse": "stop", "constant": True}
    assert train(tmp_path, stop_in=2, **settings)[0].status == "interrupted"
    outcome, _ = train(tmp_path, **settings)
    assert (outcome.status, outcome.steps) == ("collapsed", 4)
    outcome, _ = train(tmp_path, **settings)
    assert (outcome.status, outcome.steps) == ("collapsed", 5)
    assert "different samples get the same embedding" in outcome.message
    outcome, _ = train(tmp_path, on_collapse="stop")  # what was wrong was mended
    assert (outcome.status, outcome.steps) == ("done", STEPS)
