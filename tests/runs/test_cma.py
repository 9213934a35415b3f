"""CMA goes on from a run of AVID: with its networks, heads, banks and partition."""

import logging
from dataclasses import replace

import pytest
import torch

import killing
import manyviews
import media
from manyviews.core import UsageError
from manyviews.parts.agreement import agreeing
from manyviews.runs.assemble import assemble
from manyviews.runs.start import open_start
from manyviews.verbs.train import execute

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cma")


@pytest.fixture(scope="module")
def first(folder):
    settings = killing.settings("avid", folder)
    execute(replace(settings, train=replace(settings.train, steps=3)), out=folder / "first")
    return folder / "first"


def begun(folder, first, **method):
    run = killing.settings("cma", folder)
    method = replace(run.method, positives=3, **method)
    train = replace(run.train, steps=3, checkpoint_every=0)
    return replace(run, start=str(first), method=method, train=train)


def test_everything_that_avid_has_is_taken_and_positives_come_from_its_banks(folder, first, caplog):
    caplog.set_level(logging.INFO, "manyviews")
    run = begun(folder, first)
    start = open_start(run)
    method = assemble(run, start=start).method
    theirs, ours = start.method.state_dict(), method.state_dict()
    assert set(ours) - set(theirs) == {"found"}
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert method.partition.value > 0
    execute(run, out=folder / "second")
    [line] = [r.message for r in caplog.records if "taken: branches.video.encoder" in r.message][:1]
    assert "banks (4)" in line
    assert "partition (1)" in line


def test_the_first_mining_is_in_the_banks_of_avid(folder, first):
    run = begun(folder, first, agreement="union")
    assembly = assemble(run, start=open_start(run))
    method = assembly.method
    banks = [method.banks[name].items.clone() for name in ("video", "audio")]
    method.before_epoch(manyviews.core.Clock(0, 3), None)
    assert torch.equal(method.found, agreeing(*banks, count=3, by="union"))


def test_without_a_start_it_says_what_it_goes_on_from(folder):
    with pytest.raises(UsageError, match="cma goes on from weights that are there: add --start"):
        manyviews.train("cma", data=media.clips(folder / "clips"), out=folder / "none")


def test_a_run_of_another_method_gives_its_encoders_alone(folder, tmp_path):
    run = begun(folder, "")
    execute(replace(run, start=""), out=tmp_path / "run")
    avid = replace(killing.settings("avid", folder), start=str(tmp_path / "run"))
    start = open_start(avid)
    assert start.kind == "cma"
    method = assemble(avid, start=start).method
    assert method.partition.value == 0
