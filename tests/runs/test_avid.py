"""Two streams, two encoders, two banks: a run on clips with sound, from files to features."""

import json
from dataclasses import replace

import pytest
import torch

import killing
import manyviews
import media
from manyviews.core import UsageError
from manyviews.runs.assemble import assemble
from manyviews.runs.folder.read import saved_run
from manyviews.verbs.report import report
from manyviews.verbs.train import execute


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("avid")
    settings = killing.settings("avid", folder)
    execute(replace(settings, data=replace(settings.data, workers=1)), out=folder / "run")
    return folder / "run"


def test_both_encoders_are_kept_and_each_says_what_it_is_fed(run):
    assert sorted(p.name for p in run.glob("encoder*")) == [
        "encoder-audio.safetensors",
        "encoder-video.safetensors",
    ]
    assembly = assemble(saved_run(run))
    where, seen = assembly.look([0, 5])
    assert where == [0, 5]
    for name in ("video", "audio"):
        embedder = manyviews.load(run / f"encoder-{name}.safetensors")
        assert embedder.input == assembly.method.encoders[name].input
        features = embedder(seen[name][:, 0])
        assert features.shape == (2, embedder.dim)
        assert torch.isfinite(features).all()


def test_the_run_says_which_encoders_it_has(run):
    with pytest.raises(UsageError, match=r"several encoders, audio and video. Add --which audio"):
        manyviews.load(run)


def test_its_report_shows_clips_and_spectrograms(run):
    report(run)
    page = (run / "report.html").read_text()
    assert "R2Plus1D" in page or "r2plus1d" in page
    assert "video 1" in page
    assert "audio 1" in page


def test_what_needs_images_says_so_in_a_line(run):
    with pytest.raises(UsageError, match="is fed Frames"):
        manyviews.load(run / "encoder-video.safetensors").transform("a.png")


def test_sound_and_picture_of_a_sample_are_told_of_together(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in lines} >= {"train", "health"}
    assert not [line for line in lines if line["kind"] == "alarm" and "wiring" in str(line)]


def test_a_folder_without_sound_has_nothing_for_it(tmp_path):
    (tmp_path / "data").mkdir()
    media.write(tmp_path / "data" / "silent.mp4", times=[0.0, 0.1])
    with pytest.raises(UsageError, match="None of the 1 files"):
        manyviews.train("avid", data=str(tmp_path / "data"), out=tmp_path / "run")
