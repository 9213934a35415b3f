"""Frozen models that a run takes its targets from."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

import manyviews
from manyviews.core import Batch, Clock, Given, Method, Step, UsageError
from manyviews.core.settings import parts, struct
from manyviews.methods import catalog
from manyviews.recipes import RECIPES
from manyviews.runs import moved, saved
from manyviews.runs.assemble import assemble
from manyviews.runs.facts import facts
from manyviews.runs.settings import Teacher
from manyviews.verbs.flags import lengthen, settle
from manyviews.verbs.train import execute

DATA = "builtin:fashion"
SHORT = {
    "train.minutes": 0.0,
    "train.steps": 2,
    "data.batch_size": 16,
    "encoder.name": "resnet_small",
    "encoder.width": 4,
}


@dataclass(frozen=True, kw_only=True)
class CopyConfig:
    """Of `Copy`.

    Attributes:
        weight: of the loss.
    """

    weight: float = 1.0


class Copy(Method):
    """The encoder comes to say what a teacher says."""

    asks = ("teacher",)

    def __init__(self, given: Given, config: CopyConfig) -> None:
        super().__init__(given)
        self.online, self.teacher, self.config = given.encoder, dict(given.teachers), config

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Squared error of the embeddings."""
        del clock
        x: Tensor = batch.views["global"][:, 0]
        ours, theirs = self.online(x).pooled, self.teacher["teacher"](x).pooled
        loss = self.config.weight * mse_loss(ours, theirs)
        return Step({"copy": loss}, self.embedded(ours[:, None]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teachers") / "run"
    manyviews.train("simclr", data=DATA, out=out, overrides=SHORT)
    return out


@pytest.fixture(autouse=True)
def method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog.METHODS, "copy", catalog.Entry(Copy, CopyConfig))


def a_run(source: str | Path):
    seen = facts(DATA)
    run = settle(replace(RECIPES["simclr"](seen)), SHORT)
    teachers = struct("Teachers", {"teacher": Teacher(source=str(source))})
    return replace(run, recipe="copy", method=CopyConfig(), teachers=teachers)


def test_a_teacher_is_frozen_and_no_part_of_the_method(trained: Path) -> None:
    assembly = assemble(a_run(trained))
    teacher = assembly.teachers["teacher"]
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    ours = {id(p) for p in assembly.method.parameters()}
    assert ours.isdisjoint(id(p) for p in teacher.parameters())
    kept = manyviews.load(trained).encoder.state_dict()
    assert all(torch.equal(v, kept[k]) for k, v in teacher.state_dict().items())


def test_training_goes_towards_the_teacher_and_on_from_a_checkpoint(
    trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run = replace(a_run(trained), train=replace(a_run(trained).train, steps=40, log_every=1))
    execute(run, out=out)
    losses = [line["loss"] for line in _lines(out) if "loss" in line]
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    assert saved.from_yaml((out / "config.yaml").read_text(), name="x") == run
    assert not any("teacher" in key for key in _state(out))
    manyviews.resume(out)  # a finished run has its teacher as it was


def test_another_teacher_than_before_is_refused(trained: Path, tmp_path: Path) -> None:
    import shutil

    teacher, out = tmp_path / "teacher", tmp_path / "run"
    shutil.copytree(trained, teacher)
    execute(a_run(teacher), out=out)
    other = tmp_path / "other"
    manyviews.train("simclr", data=DATA, out=other, overrides=SHORT | {"seed": 1})
    shutil.copy(other / "encoder.safetensors", teacher / "encoder.safetensors")
    with pytest.raises(UsageError, match=r"teacher 'teacher' is not the one that this run began"):
        manyviews.resume(out)


def test_a_run_finds_its_teacher_from_any_folder(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.parent)
    out = tmp_path / "run"
    execute(replace(a_run(trained.name), start=trained.name), out=out)
    monkeypatch.chdir(tmp_path)
    manyviews.resume(out)
    kept = saved.from_yaml((out / "config.yaml").read_text(), name="x")
    assert parts(kept.teachers)["teacher"].source == kept.start == str(trained)


def test_weights_of_timm_are_no_path() -> None:
    run = replace(a_run("timm:resnet18"), start="timm:resnet18")
    assert moved.settled(run).start == "timm:resnet18"
    assert parts(moved.settled(run).teachers)["teacher"].source == "timm:resnet18"


def test_a_teacher_has_to_be_named(trained: Path) -> None:
    with pytest.raises(UsageError, match=r"Give it: --teachers\.teacher timm:NAME"):
        assemble(a_run(""))
    with pytest.raises(UsageError, match=r"learns from a teacher\. Give one: --teachers\.teacher"):
        assemble(replace(a_run(trained), teachers=struct("Teachers", {})))
    twice = struct("Teachers", {"image": Teacher(source=str(trained))})
    with pytest.raises(UsageError, match="both called 'image'"):
        assemble(replace(a_run(trained), teachers=twice))


def test_a_teacher_has_a_short_flag() -> None:
    run = a_run("")
    assert parts(settle(run, {"teachers.teacher": "x"}).teachers)["teacher"].source == "x"
    _, flags = lengthen(["--teachers.teacher", "x"], run)
    assert flags == ["--teachers.teacher.source", "x"]


def _lines(out: Path) -> list[dict[str, float]]:
    import json

    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def _state(out: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    from manyviews.training import checkpoint

    newest = checkpoint.latest(out / "checkpoints")
    assert newest is not None
    return load_file(newest / "method.safetensors")
