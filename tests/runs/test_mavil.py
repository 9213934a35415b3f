"""MAViL's second stage learns from a whole run of the first, and the next one from it."""

import random
import signal
from dataclasses import replace

import pytest
import torch

import killing
import media
from forks import run
from manyviews.core import Clock, UsageError
from manyviews.core.settings import parts, struct
from manyviews.methods.audiovisual.mavil import MAViL
from manyviews.recipes import RECIPES
from manyviews.runs.assemble import assemble
from manyviews.runs.facts import facts
from manyviews.runs.teachers import open_teachers
from manyviews.verbs.train import execute

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mavil")
    assert run(lambda: killing.train("mavil", folder / "earlier")) == 0
    return folder


def second(folder, **more):
    return replace(killing.settings("mavil-second", folder), **more)


def test_a_killed_second_stage_ends_bit_for_bit_as_one_that_was_not(folder):
    whole, cut = folder / "whole", folder / "cut"
    step = random.Random("mavil").randint(*killing.KILLED)
    assert run(lambda: killing.train("mavil-second", whole)) == 0
    assert run(lambda: killing.train("mavil-second", cut, kill_at=step)) == -signal.SIGKILL
    assert run(lambda: killing.train("mavil-second", cut)) == 0
    assert killing.differences(cut, whole) == []
    # and is a teacher itself, as is a run begun from it
    third = second(folder, train=replace(second(folder).train, steps=1))
    taught = struct("Teachers", {"earlier": replace(third.teachers.earlier, source=str(whole))})
    execute(replace(third, teachers=taught, start=str(whole)), out=folder / "third")
    [teacher] = open_teachers(replace(third, teachers=taught)).values()
    assert teacher.config.target == "features"


def test_the_targets_are_the_features_of_the_run_that_is_named(folder):
    assembly = assemble(second(folder))
    [teacher] = assembly.teachers.values()
    assert isinstance(teacher, MAViL)
    assert teacher.config.target == "patches"
    batch = next(iter(assembly.batches()(0, 1)))[0]
    whole = {name: batch.views[name][:, 0] for name in ("audio", "video")}
    wanted = teacher.contextual(whole)
    assert {k: v.shape[1] for k, v in wanted.items()} == {
        k: net.num_tokens for k, net in assembly.method.encoders.items()
    }
    for name, made in assembly.method.features(whole).items():
        assert torch.equal(made, wanted[name])
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    assembly.method(batch, Clock(0, 1)).total.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())


def test_both_views_of_a_clip_are_the_same_pictures_and_hide_other_places(folder):
    batch = next(iter(assemble(second(folder)).batches()(0, 1)))[0]
    for name in ("audio", "video"):
        views, hidden = batch.views[name], batch.cues[f"{name}.mask"]
        assert torch.equal(views[:, 0], views[:, 1])
        assert not torch.equal(hidden[:, 0], hidden[:, 1])
        assert hidden.float().mean() == pytest.approx(0.8, abs=0.02)


def test_a_run_of_other_sizes_is_refused_with_what_to_set(folder):
    audio = folder / "data"
    seen = facts(media.clips(audio), ("video", "audio"))
    plain = RECIPES["mavil-second"](seen)
    taught = second(folder).teachers
    with pytest.raises(UsageError, match=r"fed other video .*Give --encoders\.video the settings"):
        assemble(replace(plain, teachers=taught))
    with pytest.raises(UsageError, match=r"Give it: --teachers\.earlier RUN\."):
        assemble(plain)
    assert parts(plain.teachers)["earlier"].whole
