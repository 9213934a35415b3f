"""Runs on clips of a folder: from files, good and bad, to features."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

import killing
import manyviews
import media
from forks import run as forked
from manyviews.core.settings import override, parts
from manyviews.runs.assemble import assemble
from manyviews.runs.folder.read import saved_run
from manyviews.verbs.report import report
from manyviews.verbs.train import execute

torch.set_num_threads(1)

RECIPES = ("rho-simclr", "rho-byol", "rho-moco", "rho-swav", "mae-video")


def mixed(folder):
    """A folder with every kind of file that people have; two of them cannot be used."""
    folder.mkdir()
    times = [k / 16 for k in range(24)]
    random = np.random.default_rng(0)
    plain = {"times": times, "size": (48, 64)}
    for k in range(6):
        media.write(folder / f"plain{k}.mp4", **plain)
    media.write(folder / "turned.mp4", **plain, rotation=90)
    media.write(folder / "odd.mkv", times=times, size=(35, 61), codec="ffv1", pixels="bgr0")
    media.write(folder / "variable.mp4", times=np.cumsum(random.uniform(0.02, 0.2, 24)).tolist())
    media.write(folder / "one.mp4", times=[0.0])
    media.write(folder / "short.avi", times=times[:3], codec="mpeg4", clock=16)
    media.write(folder / "loud.mkv", **plain, wave=media.clicks([0.2], seconds=1, rate=16000))
    media.write(folder / "torn.mp4", **plain, faststart=True)
    data = (folder / "torn.mp4").read_bytes()
    at = data.index(b"mdat")
    (folder / "torn.mp4").write_bytes(data[: at + (len(data) - at) // 8])
    (folder / "text.mp4").write_bytes(b"no clip" * 100)
    (folder / "notes.txt").write_text("of the day")
    return str(folder)


def settings(name, folder, **change):
    run = killing.settings(name, folder)
    data = replace(run.data, workers=0, max_bad=0.5)
    run = replace(run, data=data, train=replace(run.train, steps=4, checkpoint_every=2))
    return override(run, change)


@pytest.mark.parametrize("name", RECIPES)
def test_a_folder_of_all_kinds_of_files_is_learnt_from(name, tmp_path):
    data = mixed(tmp_path / "data")
    execute(settings(name, tmp_path), out=tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(x) for x in lines if json.loads(x)["kind"] == "train"]
    assert len(losses) == 4
    bad = (tmp_path / "run" / "quarantine.jsonl").read_text()
    assert {"torn.mp4", "text.mp4"} == {
        name for name in ("torn.mp4", "text.mp4", "one.mp4", "short.avi", "odd.mkv") if name in bad
    }
    out = tmp_path / "x.npy"
    found = manyviews.embed(tmp_path / "run", data=data, out=out)
    assert any("2 unreadable" in note for note in found.notes)
    features = np.load(out)
    assert features.shape[0] == 12
    assert np.isfinite(features).all()


@pytest.mark.parametrize("name", RECIPES)
def test_a_killed_run_ends_bit_for_bit_as_one_that_was_not(name, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert forked(lambda: killing.train(name, whole), seconds=90) == 0
    assert forked(lambda: killing.train(name, cut, kill_at=7, workers=1)) == -signal.SIGKILL
    assert forked(lambda: killing.train(name, cut), seconds=90) == 0
    assert killing.differences(cut, whole) == []


def test_four_clips_are_four_views_and_their_number_is_a_setting(tmp_path):
    run = settings("rho-byol", tmp_path, **{"views.global.count": 4})
    execute(run, out=tmp_path / "run")
    assembly = assemble(saved_run(tmp_path / "run"))
    [batch] = next(assembly.batches(processes=0)(0, 1))
    fed = parts(run.encoders)["video"].input
    assert batch.views["global"].shape[:2] == (8, 4)
    assert batch.views["global"].shape[2:] == fed.shape


def test_its_features_are_measured_diagnosed_and_shown(tmp_path):
    labelled = media.clips(tmp_path / "labelled", labelled=True)
    execute(settings("rho-byol", tmp_path), out=tmp_path / "run")
    [knn] = manyviews.evaluate(tmp_path / "run", data=labelled).found
    assert knn.result.classes == 4
    found = manyviews.diagnose(tmp_path / "run", sample=20, views=2, clusters=3)
    assert found.spaces["encoder"]["rankme"] > 1
    report(tmp_path / "run")
    assert "slow" in (tmp_path / "run" / "report.html").read_text().lower()


@pytest.mark.parametrize("name", ["brave-flow", "brave-sound", "brave-sound-flow"])
def test_brave_of_flow_and_of_sound_trains_goes_on_bit_for_bit_and_is_measured(name, tmp_path):
    data = media.clips(tmp_path / "data")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert forked(lambda: killing.train(name, whole), seconds=120) == 0
    assert forked(lambda: killing.train(name, cut, kill_at=7, workers=1)) == -signal.SIGKILL
    assert forked(lambda: killing.train(name, cut), seconds=120) == 0
    assert killing.differences(cut, whole) == []
    run = saved_run(whole)
    for which in parts(run.encoders):
        manyviews.embed(whole, which=which, data=data, out=tmp_path / "x.npy")
        features = np.load(tmp_path / "x.npy")
        assert len(features) == 24
        assert features.std(axis=0).max() > 0


def test_an_encoder_of_flow_is_measured_diagnosed_and_shown(tmp_path):
    labelled = media.clips(tmp_path / "labelled", labelled=True)
    execute(settings("brave-flow", tmp_path), out=tmp_path / "run")
    found = manyviews.evaluate(tmp_path / "run", which="broad", data=labelled, clips=2).found
    assert [one.result.classes for one in found] == [4]
    diagnosed = manyviews.diagnose(tmp_path / "run", which="broad", sample=20, views=2, clusters=3)
    assert diagnosed.spaces["encoder"]["rankme"] >= 1
    assert "broad" in (tmp_path / "run" / "report.html").read_text()
