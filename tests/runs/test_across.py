"""Retrieval across encoders of a run: by what its loss compares, and it says so."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

import killing
import manyviews
import media
from manyviews.core import UsageError
from manyviews.data.sources import open_data
from manyviews.evaluation.across import ranks
from manyviews.methods.catalog import METHODS
from manyviews.runs.across import Compares, Judges, _side
from manyviews.runs.diagnose import assembly_of
from manyviews.verbs.train import execute

TELL = ("avid", "cma", "gdt", "mavil", "cav-mae", "l3", "avts")
"""Methods that compare a clip with a sound."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("across")
    settings = killing.settings("avid", folder)
    execute(replace(settings, data=replace(settings.data, workers=1)), out=folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Clips that the run has not seen, and fewer."""
    return media.clips(tmp_path_factory.mktemp("others") / "clips", count=12)


def test_methods_that_compare_a_clip_with_a_sound_say_how():
    for name in TELL:
        assert issubclass(METHODS[name].method, Compares), name
    assert {n for n in TELL if issubclass(METHODS[n].method, Judges)} == {"l3", "avts"}


def test_what_is_compared_are_the_heads_outputs_of_the_last_checkpoint(run, others):
    found = manyviews.evaluate(run, data=others, protocol="across").found[0]
    assembly = assembly_of(run)
    method = assembly.method.eval()
    source = open_data(others, ("video", "audio"), channels=3, max_pixels=10**8)
    other = replace(assembly, source=source)
    views = other.look(range(12))[1]
    with torch.no_grad():
        z = {
            name: F.normalize(branch.head(branch.encoder(views[name][:, 0]).pooled), dim=1)
            for name, branch in method.branches.items()
        }
    by_hand = ranks(z["video"] @ z["audio"].T)
    measures = found.result.measures
    assert measures["video to audio recall@5"].value == pytest.approx(
        float((by_hand <= 5).mean(dtype=float))
    )
    assert measures["video to audio median rank"].value == float(by_hand.double().quantile(0.5))
    assert found.result.notes[0] == "compared are what the loss of avid compares, behind its heads"
    assert set(found.beside) == {"untrained"}
    [kept] = (run / "evaluation").glob("across*.json")
    assert json.loads(kept.read_text())["notes"][0] == found.result.notes[0]


def test_without_a_checkpoint_encoders_of_two_widths_are_refused(run, others, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(run, bare, ignore=shutil.ignore_patterns("checkpoints", "cache", "evaluation"))
    with pytest.raises(UsageError, match="avid has no trained heads that bring them together"):
        manyviews.evaluate(bare, data=others, protocol="across", baselines=False)


def test_without_a_checkpoint_it_is_the_outputs_and_that_is_said(run):
    method = assembly_of(run).method
    one = method.encoders["audio"]
    twice = SimpleNamespace(encoders={"video": one, "audio": one}, eval=lambda: None)
    side = _side(twice, "avid", heads=False)
    assert side.compared == "the encoders' own outputs"
    x = torch.randn(3, *one.input.shape)
    with torch.no_grad():
        rows = one.eval()(x, tokens=False).pooled
        made = side.embed({"video": x, "audio": x})
    assert torch.equal(made["video"], rows)
    torch.testing.assert_close(side.alike(rows, rows).diag(), torch.ones(3))


def test_what_it_is_not_for_is_refused(run, others):
    for asked, said in (
        ({"protocol": ("across", "knn")}, "Ask for it alone"),
        ({"protocol": "across", "which": "audio"}, "--which audio is for one encoder"),
        ({"protocol": "across", "train_data": others}, "--train-data"),
    ):
        with pytest.raises(UsageError, match=said):
            manyviews.evaluate(run, data=others, **asked)
    with pytest.raises(UsageError, match="is for a run directory"):
        manyviews.evaluate(run / "encoder-audio.safetensors", data=others, protocol="across")
