"""Frozen models that a run takes its targets from."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import mse_loss

import manyviews
from manyviews.core import Batch, Clock, Given, Method, Step, UsageError
from manyviews.core.settings import check, parts, struct
from manyviews.methods import catalog
from manyviews.methods.contrastive.simclr import SimCLR
from manyviews.recipes import RECIPES
from manyviews.runs import moved, saved
from manyviews.runs.assemble import assemble
from manyviews.runs.facts import facts
from manyviews.runs.settings import Teacher
from manyviews.runs.teachers import open_teachers
from manyviews.training import checkpoint
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


class CopyHead(Copy):
    """The encoder comes to say what the head of a whole method says."""

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Squared error of the embedding and the head's output, as far as both are wide."""
        x: Tensor = batch.views["global"][:, 0]
        teacher = self.teacher["teacher"]
        theirs = teacher.projector(teacher.backbone(x).pooled)
        ours = self.online(x).pooled
        width = min(ours.shape[1], theirs.shape[1])
        loss = mse_loss(ours[:, :width], theirs[:, :width])
        return Step({"copy": loss}, self.embedded(ours[:, None]))


@dataclass(frozen=True, kw_only=True)
class CopyHeadConfig(CopyConfig):
    """Of `CopyHead`."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teachers") / "run"
    manyviews.train("simclr", data=DATA, out=out, overrides=SHORT)
    return out


@pytest.fixture(autouse=True)
def method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog.METHODS, "copy", catalog.Entry(Copy, CopyConfig))
    monkeypatch.setitem(catalog.METHODS, "copy-head", catalog.Entry(CopyHead, CopyHeadConfig))


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


def of_whole(source: str | Path, **more: object):
    teacher = Teacher(source=str(source), whole=True, **more)  # type: ignore[arg-type]
    run = replace(a_run(source), method=CopyHeadConfig(), recipe="copy-head")
    return replace(run, teachers=struct("Teachers", {"teacher": teacher}))


def test_a_whole_teacher_is_the_method_of_the_last_checkpoint(
    trained: Path, tmp_path: Path
) -> None:
    run, before = of_whole(trained), torch.get_rng_state()
    [teacher] = open_teachers(run).values()
    assert torch.equal(before, torch.get_rng_state())
    assert isinstance(teacher, SimCLR)
    kept = _state(trained)
    assert all(torch.equal(v, kept[k]) for k, v in teacher.state_dict().items())
    assert not any(module.training for module in teacher.modules())
    assert not any(p.requires_grad for p in teacher.parameters())
    out = tmp_path / "run"
    execute(run, out=out)
    assert not any(
        "projector" in key for key in _state(out)
    )  # it is no part of what learns from it
    manyviews.resume(out)
    assert saved.from_yaml((out / "config.yaml").read_text(), name="x") == run
    of_its_own = open_teachers(of_whole(out))["teacher"]  # opened with the teacher that it had
    assert all(
        torch.equal(v, kept[k]) for k, v in of_its_own.teacher["teacher"].state_dict().items()
    )


def test_a_run_that_trained_on_is_another_whole_teacher(trained: Path, tmp_path: Path) -> None:
    teacher, out = tmp_path / "teacher", tmp_path / "run"
    shutil.copytree(trained, teacher)
    execute(of_whole(teacher), out=out)
    other = tmp_path / "other"
    manyviews.train("simclr", data=DATA, out=other, overrides=SHORT | {"seed": 1})
    shutil.rmtree(teacher / "checkpoints")
    shutil.copytree(other / "checkpoints", teacher / "checkpoints")
    with pytest.raises(UsageError, match=r"teacher 'teacher' is not the one that this run began"):
        manyviews.resume(out)


def test_what_cannot_be_read_whole_is_refused(trained: Path, tmp_path: Path) -> None:
    file = trained / "encoder.safetensors"
    with pytest.raises(UsageError, match=r"--teachers\.teacher .*safetensors is no run directory"):
        assemble(of_whole(file))
    with pytest.raises(UsageError, match=r"Give it: --teachers\.teacher RUN\."):
        assemble(of_whole(""))
    with pytest.raises(
        UsageError, match=r"--teachers\.teacher\.encoder is resnet18; wanted nothing"
    ):
        check(of_whole(trained, encoder="resnet18"))
    with pytest.raises(UsageError, match=r"--teachers\.teacher\.image-size is 32; wanted 0"):
        check(of_whole(trained, image_size=32))
    bare, broken = tmp_path / "bare", tmp_path / "broken"
    shutil.copytree(trained, bare, ignore=shutil.ignore_patterns("checkpoints"))
    with pytest.raises(UsageError, match=r"bare has no checkpoint\. Train it first"):
        assemble(of_whole(bare))
    shutil.copytree(trained, broken)
    newest = checkpoint.latest(broken / "checkpoints")
    assert newest is not None
    (newest / "method.safetensors").write_bytes(b"0")
    with pytest.raises(UsageError, match=r"broken is damaged .*\. Restore it\."):
        assemble(of_whole(broken))
    execute(of_whole(trained), out=tmp_path / "second")
    config = tmp_path / "second" / "config.yaml"
    config.write_text(config.read_text().replace(str(trained), str(tmp_path / "gone")))
    with pytest.raises(UsageError, match=r"second cannot be used\. .*gone is no run directory"):
        assemble(of_whole(tmp_path / "second"))


def test_a_teacher_has_a_short_flag() -> None:
    run = a_run("")
    assert parts(settle(run, {"teachers.teacher": "x"}).teachers)["teacher"].source == "x"
    _, flags = lengthen(["--teachers.teacher", "x"], run)
    assert flags == ["--teachers.teacher.source", "x"]


def _lines(out: Path) -> list[dict[str, float]]:
    import json

    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def _state(out: Path) -> dict[str, Tensor]:
    newest = checkpoint.latest(out / "checkpoints")
    assert newest is not None
    return load_file(newest / "method.safetensors")
