"""`--step N` and `--step best`: the encoder of a checkpoint, for every verb that takes a run."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import manyviews
from manyviews.core import UsageError
from manyviews.runs import at_step
from manyviews.runs.at_step import file_of, open_at, step_of
from manyviews.training import checkpoint

torch.set_num_threads(1)

NAME = "backbone."
TINY = {
    "train.steps": 6,
    "train.precision": "fp32",
    "train.checkpoint_every": 2,
    "data.batch_size": 8,
    "data.workers": 0,
    "encoder.width": 8,
    "method.hidden": 8,
    "method.out": 4,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir()
        for i in range(12):
            pixels = random.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    manyviews.train("simclr", data=str(photos), out=out, overrides=TINY)
    return out


def inside(run, step):
    """The encoder's tensors in a checkpoint."""
    state = load_file(checkpoint.path_of(run / "checkpoints", step) / "method.safetensors")
    own = {k.removeprefix(NAME): v for k, v in state.items() if k.startswith(NAME)}
    assert own
    return own


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("step", [2, 4, 6])
def test_the_weights_are_those_of_the_checkpoint(run, step):
    with file_of(run, step=str(step)) as file:
        kept = load_file(file)
        found = open_at(run, step=str(step))
    assert not file.exists()
    assert same(kept, inside(run, step))
    assert same(found.encoder.state_dict(), inside(run, step))
    assert found.info["step"] == str(step)
    assert same(kept, load_file(run / "encoder.safetensors")) == (step == 6)


def test_without_a_step_it_is_the_runs_own_file(run):
    with file_of(run) as file:
        assert file == run / "encoder.safetensors"
    assert file.exists()


def test_every_verb_takes_a_checkpoint(run, photos, tmp_path):
    for step in (2, "6"):
        manyviews.export(run, out=tmp_path / f"{step}.safetensors", step=step)
        manyviews.embed(run, data=str(photos), out=tmp_path / f"{step}.npy", step=step)
    assert same(load_file(tmp_path / "2.safetensors"), inside(run, 2))
    features = [np.load(tmp_path / f"{step}.npy") for step in (2, 6)]
    assert not np.allclose(*features)
    newest, early = (
        manyviews.evaluate(run, data=str(photos), step=step, baselines=False) for step in ("", 2)
    )
    assert newest.found[0].result.protocol == early.found[0].result.protocol == "knn"
    files = {p.name: json.loads(p.read_text()) for p in (run / "evaluation").glob("*.json")}
    assert sorted(found.get("step", "") for found in files.values()) == ["", "2"]
    manyviews.report(run, step=4)
    page = (run / "report.html").read_text()
    assert "<th>checkpoint</th><td>step 4</td>" in page
    assert "4 steps</span>" in page
    assert "knn, accuracy at step 2" in page
    manyviews.report(run)
    assert "<th>checkpoint</th>" not in (run / "report.html").read_text()


def test_the_best_is_what_the_diagnosis_chose_of_these_checkpoints(run, tmp_path, monkeypatch):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    found = manyviews.diagnose(copy, sample=24, views=2, clusters=2)
    told = json.loads((copy / "diagnosis.json").read_text())
    assert sorted(found.checkpoints) == [2, 4, 6]
    for best in (2, 4):
        (copy / "diagnosis.json").write_text(json.dumps(told | {"best": best}))
        assert step_of(copy, "best") == best
    shutil.rmtree(copy / "checkpoints" / "step_4")  # it has not seen these
    monkeypatch.setattr(at_step, "best_of", lambda history: min(dict(history)))
    assert step_of(copy, "best") == 2
    shutil.rmtree(copy / "checkpoints" / "step_2")
    assert step_of(copy, "best") == 6


def test_without_a_diagnosis_the_measures_choose(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "diagnosis.json").unlink(missing_ok=True)
    chosen = step_of(copy, "best")
    assert chosen == manyviews.diagnose(copy, sample=24, views=2, clusters=2).best


def test_what_was_not_kept_is_refused_in_one_line(run, photos, tmp_path):
    for step in ("3", "0", "-2", "last"):
        with pytest.raises(UsageError, match=r"was not kept. Give one of 2, 4, 6, or best"):
            step_of(run, step)
    with pytest.raises(UsageError, match="is for a run directory"):
        manyviews.embed(run / "encoder.safetensors", data=photos, out=tmp_path / "x.npy", step=2)
    with pytest.raises(UsageError, match="it has one"):
        manyviews.export(run, out=tmp_path / "x.safetensors", step=2, which="image")


def test_a_damaged_checkpoint_is_refused(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    path = copy / "checkpoints" / "step_2" / "method.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)
    with pytest.raises(UsageError, match="Give another --step"):
        manyviews.report(copy, step=2)
