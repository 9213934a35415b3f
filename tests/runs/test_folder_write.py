"""What `evaluate` and `diagnose` leave in a run that takes no more: nothing, and they say so."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import manyviews
from manyviews import encoders
from manyviews.core.inputs import Pixels
from manyviews.runs import embedder
from manyviews.verbs import cli

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes, told apart by brightness."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 180)):
        (root / name).mkdir()
        for i in range(12):
            pixels = np.clip(random.normal(level, 40, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def measured(photos, tmp_path_factory):
    """An encoder's directory with what earlier verbs left there."""
    run = tmp_path_factory.mktemp("runs") / "run"
    fed = Pixels(side=16, mean=(0.5,), std=(0.25,))
    config = encoders.ResNetSmallConfig(input=fed, width=4)
    torch.manual_seed(0)
    encoder = encoders.build(config)
    embedder.save_encoder(run / "encoder.safetensors", encoder, config=config, info={})
    manyviews.evaluate(run, data=str(photos), baselines=False)
    shutil.rmtree(run / "cache")
    (run / "diagnosis.json").write_text("an older one")
    return run


@pytest.fixture
def run(measured, tmp_path):
    return Path(shutil.copytree(measured, tmp_path / "run"))


def left_in(run):
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def refuse(monkeypatch, fault):
    """Nothing can be written, as on a read-only disk, or as on a full one."""
    make, sync = Path.mkdir, os.fsync

    def read_only(self, *given, **more):
        if not self.is_dir():
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return make(self, *given, **more)

    def read_only_file(self, mode="r", *given, **more):
        if "w" in mode:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return real_open(self, mode, *given, **more)

    def full(file):
        sync(file)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real_open = Path.open
    if fault == "read-only":
        monkeypatch.setattr(Path, "mkdir", read_only)
        monkeypatch.setattr(Path, "open", read_only_file)
    else:
        monkeypatch.setattr(os, "fsync", full)


REASON = {
    "read-only": "Read-only file system. Make that writable or choose another place.",
    "full": "No space left on device. Free some space or choose another place.",
}


@pytest.mark.parametrize("fault", REASON)
def test_results_that_cannot_be_kept_are_given_and_said_once(
    run, photos, monkeypatch, caplog, fault
):
    before = left_in(run)
    refuse(monkeypatch, fault)
    found = manyviews.evaluate(run, data=str(photos), protocol=["knn", "linear"])
    [knn, linear] = found.found
    [kept] = run.glob("evaluation/knn--*.json")
    assert knn.result.value == json.loads(kept.read_text())["value"]
    assert linear.result.value == 1.0
    assert list(knn.beside) == ["raw pixels", "centred pixels", "untrained encoder"]
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    cache, results = [record.getMessage() for record in warned]
    reason = REASON[fault].partition(".")[0]
    assert cache == f"The features are not kept in {run / 'cache'} for next time: {reason}."
    assert results.startswith(f"Cannot write {run / 'evaluation' / 'knn--'}")
    assert results.endswith(f".json: {REASON[fault]} 2 of 2 results are not kept.")
    assert found.unsaved == results
    assert left_in(run) == before


@pytest.mark.parametrize("fault", REASON)
def test_a_diagnosis_that_cannot_be_kept_is_given_and_said_once(
    run, photos, monkeypatch, caplog, fault
):
    before = left_in(run)
    refuse(monkeypatch, fault)
    found = manyviews.diagnose(run, data=str(photos), sample=20, views=2, clusters=2)
    assert found.spaces["encoder"]["rankme"] > 1
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    where = run / "diagnosis.json"
    assert said == [f"Cannot write {where}: {REASON[fault]} The diagnosis is not kept."]
    assert said == [found.unsaved]
    assert left_in(run) == before


@pytest.mark.parametrize("verb", ["evaluate", "diagnose"])
def test_the_command_prints_what_it_found_and_fails(run, photos, monkeypatch, capsys, verb):
    more = ["--sample", "20", "--views", "2"] if verb == "diagnose" else ["--no-baselines"]
    command = [verb, str(run), "--data", str(photos), *more]
    codes = []
    for fault in (None, "full"):
        if fault:
            refuse(monkeypatch, fault)
        for form in ([], ["--json"]):
            with pytest.raises(SystemExit) as stop:
                cli.main([*command, *form])
            codes.append(stop.value.code)
            said = capsys.readouterr()
            assert ("Cannot write" in said.err) == bool(fault)
            assert "Traceback" not in said.err
            assert any(word in said.out for word in ("knn", "directions", "rankme"))
            if form:
                assert "unsaved" not in json.loads(said.out)
    assert codes == [0, 0, 1, 1]


def test_what_was_kept_has_no_word_of_what_was_not(run, photos):
    found = manyviews.diagnose(run, data=str(photos), sample=20, views=2, clusters=2)
    assert "unsaved" not in json.loads((run / "diagnosis.json").read_text())
    assert found.unsaved == ""
    assert manyviews.evaluate(run, data=str(photos), baselines=False).unsaved == ""


def test_a_result_says_of_which_images_and_labels_it_is(run, photos, tmp_path):
    told = {"protocol": "knn", "baselines": False}
    copied = tmp_path / "copied"
    shutil.copytree(photos, copied, copy_function=shutil.copyfile)
    found = manyviews.evaluate(run, data=str(copied), **told)
    [before, after] = [json.loads(path.read_text()) for path in run.glob("evaluation/knn--*.json")]
    assert {before["data"], after["data"]} == {str(photos), str(copied)}
    assert before["content"] == after["content"] == found.content != ""
    Image.new("RGB", (16, 16)).save(copied / "dark" / "3.png")
    assert manyviews.evaluate(run, data=str(copied), **told).content != found.content
    alone = manyviews.evaluate(run / "encoder.safetensors", data=str(copied), **told)
    assert alone.content == ""  # nothing is kept that could be compared
