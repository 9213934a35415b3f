"""Folders of recordings from end to end: train, embed, evaluate, diagnose, report."""

import re
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import killing
import manyviews
import media
from manyviews.core.settings import parts, struct
from manyviews.recipes import RECIPES
from manyviews.runs.facts import facts
from manyviews.verbs.train import execute

RECIPES_OF_SOUND = ("audio-simclr", "audio-byol", "cola", "mae-audio")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings in a folder for each of four tones; one cannot be read."""
    where = tmp_path_factory.mktemp("data") / "sounds"
    media.sounds(where, labelled=True)
    (where / "tone0" / "torn.mp3").write_bytes(b"no sound")
    return str(where)


def settings(name, data):
    run = RECIPES[name](facts(data, ("audio",)))
    encoders = {n: killing.narrow(c) for n, c in parts(run.encoders).items()}
    return replace(
        run,
        method=killing.shrink(run.method),
        encoders=struct("Encoders", encoders),
        data=replace(run.data, batch_size=8, workers=0, max_bad=0.5),
        train=replace(run.train, minutes=0.0, steps=4, log_every=1, precision="fp32"),
    )


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    execute(settings("audio-byol", folder), out=out)
    return out


def test_recordings_are_embedded_at_both_levels(run, folder, tmp_path):
    out = tmp_path / "x.parquet"
    found = manyviews.embed(run, data=folder, out=out, thumbnails=16)
    assert any("1 unreadable" in note for note in found.notes)
    read = pq.read_table(out)
    features = np.array(read["feature"].to_pylist())
    assert features.shape == (24, manyviews.load(run).dim)
    assert np.isfinite(features).all()
    assert features.std(axis=0).max() > 0
    assert all(picture["bytes"] for picture in read["image"].to_pylist())


def test_tones_are_told_apart_by_their_folders(run, folder):
    found = manyviews.evaluate(run, data=folder, protocol=["knn", "linear"])
    assert [one.result.protocol for one in found.found] == ["knn", "linear"]
    for one in found.found:
        assert one.result.classes == 4
        assert one.result.value > 0.9
        assert list(one.beside) == ["mean log-mel", "untrained encoder"]


def test_a_run_is_diagnosed_by_its_own_random_views_and_reported_on(run):
    found = manyviews.diagnose(run, sample=20, views=3, clusters=3)
    assert found.spaces["encoder"]["rankme"] > 1
    assert "alignment" in found.spaces["encoder"]
    assert "data:image/" in (run / "report.html").read_text()


def test_recordings_are_called_sounds_wherever_they_are_spoken_of(run):
    found = replace(manyviews.diagnose(run, sample=20, views=3, clusters=3), whole=True)
    manyviews.report(run)
    page = (run / "report.html").read_text().partition("<h2>The same again")[0]
    page = re.sub(r"(?s)<(script|style|pre)\b.*?</\1>|<[^>]+>", " ", page)
    for text in ("\n".join(found.lines()), page):
        assert re.search(r"passes over \d+ sounds, 4 steps", text)
        assert re.findall(r"(?i).*\bimages?\b.*", text) == []


@pytest.mark.parametrize("name", RECIPES_OF_SOUND)
def test_each_recipe_trains_on_windows_that_differ(name, folder, tmp_path):
    plan = parts(settings(name, folder).views)["global"]
    assert (plan.count, plan.around, plan.to) == (1 if name == "mae-audio" else 2, "", "audio")
    if name != "audio-byol":
        execute(settings(name, folder), out=tmp_path / "run")
        assert (tmp_path / "run" / "encoder.safetensors").exists()
