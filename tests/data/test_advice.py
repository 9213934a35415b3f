"""Where data is the bottleneck, the advice names the cause and a flag that exists."""

import numpy as np
import pytest
from pictures import folder_of

from manyviews.data import advice, workers
from manyviews.data.loader import Spent
from manyviews.data.sources import Stored, open_source
from manyviews.verbs import pack


@pytest.fixture
def source(tmp_path):
    return open_source(str(folder_of(tmp_path / "my photos", 3)), channels=3, max_pixels=10**6)


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(workers, "cores", lambda: 8)


READING, MAKING = Spent(reading=8, making=2), Spent(reading=2, making=8)


def test_reading_asks_for_workers_and_a_pack(source, tmp_path):
    said = advice.why(source, READING, workers=1)
    assert (
        "Of the work of 1 worker reading images takes 80 %. Try --data.workers 8"
        in said.replace("80%", "80 %")
    )
    assert f"`manyviews pack '{tmp_path / 'my photos'}' OUT`" in said
    pack.pack(source.spec, tmp_path / "out", workers=0)
    packed = open_source(str(tmp_path / "out"), channels=3, max_pixels=10**6)
    assert "manyviews pack" not in advice.why(packed, READING, workers=1)


def test_views_ask_for_workers_or_less_work(source):
    said = advice.why(source, MAKING, workers=2)
    assert "the work of 2 workers making views takes 80%" in said
    assert "--data.workers 8" in said
    assert "--views." in said
    assert "pack" not in said


def test_no_more_workers_than_cores_of_this_rank(source, monkeypatch):
    assert "--data.workers" not in advice.why(source, READING, workers=8)
    assert "larger encoder" in advice.why(source, READING, workers=8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert "--data.workers 2" in advice.why(source, READING, workers=1)


def test_images_in_memory_are_not_to_be_packed():
    source = Stored("builtin:fashion", np.zeros((4, 8, 8, 1), np.uint8))
    said = advice.why(source, Spent(), workers=0)
    assert "the training process itself" in said
    assert "pack" not in said
