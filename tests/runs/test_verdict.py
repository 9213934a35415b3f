"""What a verdict is made of, from a run's folder, and the commands that it ends in."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import manyviews
from manyviews import encoders
from manyviews.core.settings import parts
from manyviews.diagnosis.verdict import FEW
from manyviews.runs import against as holding
from manyviews.runs import verdict as judging
from manyviews.runs.assemble import embed_with
from manyviews.runs.diagnose import assembly_of
from manyviews.runs.folder.read import saved_run
from manyviews.runs.verdict import logged, raised, rate_at, rates_of, task_of, without

torch.set_num_threads(1)

TINY = {
    "train.steps": 4,
    "train.precision": "fp32",
    "train.log_every": 1,
    "data.batch_size": 8,
    "data.workers": 0,
    "encoder.width": 8,
    "method.hidden": 8,
    "method.out": 4,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("verdict"), np.random.default_rng(0)
    (root / "photos").mkdir()
    for i in range(24):
        pixels = random.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "photos" / f"{i}.png")
    data = str(root / "photos")
    manyviews.train("simclr", data=data, out=root / "run", overrides=TINY | {"seed": 3})
    return root / "run"


def test_the_untrained_encoder_is_the_runs_own_at_its_seed(run):
    assembly = assembly_of(run)
    found = holding._untrained(assembly)["image"]
    torch.manual_seed(3)  # what the run was trained with
    [config] = parts(saved_run(run).encoders).values()
    fresh = encoders.build(config)
    for (name, a), b in zip(found.named_parameters(), fresh.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(
        next(found.parameters()), next(iter(assembly.method.encoder.parameters()))
    )


def test_its_normalisation_layers_know_the_data(run):
    assembly = assembly_of(run)
    found = holding._untrained(assembly)["image"]
    [norm, *_] = [m for m in found.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norm.momentum == 0.1
    assert not found.training
    assert not torch.allclose(norm.running_mean, torch.zeros_like(norm.running_mean))
    _, seen = assembly.look(range(24))
    outputs = []
    norm.register_forward_hook(lambda module, given, output: outputs.append(output))
    embed_with(found, assembly.device)(seen["image"][:, 0])
    assert outputs[0].std() == pytest.approx(1, abs=0.35)


def test_what_no_step_has_moved_measures_as_the_untrained_encoder_does(run, monkeypatch):
    """Statistics of a few steps are mostly what they began with, and no weight has learnt them."""
    assembly = assembly_of(run)
    encoder = assembly.method.encoder
    fresh = holding._untrained(assembly)
    with torch.no_grad():
        for own, other in zip(encoder.parameters(), fresh["image"].parameters(), strict=True):
            own.copy_(other)
    for name, value in encoder.named_buffers():
        if name.endswith("running_var"):
            value.mul_(torch.linspace(0.2, 5, len(value)))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    found = holding.against(assembly, fresh, None, what=holding.UNTRAINED)["image"]
    assert found.after == pytest.approx(found.before, rel=1e-4)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    asked = []
    monkeypatch.setattr(holding, "_knn", lambda probe, two: asked.append(two))
    holding.against(assembly, fresh, {"": object()}, what=holding.UNTRAINED)
    [[_, labelled]] = asked  # labels are asked about the encoder as people will use it
    x = torch.rand(4, *encoder.input.shape)
    assert torch.equal(labelled(x), embed_with(encoder, assembly.device)(x))


def test_what_is_held_against_is_kept_for_its_step(run, monkeypatch):
    kept = json.loads((run / "against.json").read_text())
    assert kept["step"] == 4
    assert list(kept["untrained"]) == ["image"]
    monkeypatch.setattr(holding, "hold", lambda *_, step: step)
    assembly = assembly_of(run)
    found = holding.standing(assembly, run, step=4)
    assert holding.of(found, holding.UNTRAINED).to_json() == kept["untrained"]["image"]
    assert holding.of(found, holding.START) is None
    assert holding.standing(assembly, run, step=2) == 2  # measured anew


@pytest.mark.parametrize("text", ["", "[]", '{"step": 4, "untrained": 3}', '{"step": 4}'])
def test_a_damaged_file_counts_as_missing(tmp_path, text):
    (tmp_path / "against.json").write_text(text)
    assert not holding.read_against(tmp_path)
    assert holding.sentences(tmp_path) == []


def health(step, light, **more):
    return {"kind": "health", "step": step, "health": light, **more}


def alarm(step, name, light=None):
    told = {} if light is None else {"light": light}
    return {"kind": "alarm", "step": step, "name": name, "message": f"{name}.", **told}


def test_an_alarm_has_passed_when_the_last_check_was_past_it():
    records = [alarm(3, "one", "bad"), health(3, 2), alarm(5, "two", "warn")]
    for last, passed in ((0, [True, True]), (1, [True, False]), (2, [False, False])):
        found = raised([*records, health(9, last)])
        assert [one.passed for one in found] == passed
    wiring = raised([alarm(0, "identical_views", "warn"), health(9, 0)])
    assert [(one.name, one.passed) for one in wiring] == [("identical_views", False)]


def test_an_alarm_of_an_earlier_version_has_its_rules_light():
    found = raised([alarm(3, "complete_collapse"), alarm(4, "rank_falls"), alarm(5, "new", "x")])
    assert [one.light for one in found] == ["bad", "warn", "warn"]
    assert len(raised([alarm(3, "a", "bad"), alarm(9, "a", "bad")])) == 1


def test_rates_are_shares_of_the_peak():
    records = [{"kind": "train", "step": s, "lr": r} for s, r in ((1, 0.0), (10, 0.4), (20, 0.1))]
    rates = rates_of(records)
    assert rates == {1: 0.0, 10: 1.0, 20: 0.25}
    assert rate_at(rates, 12) == {"lr": 1.0}
    assert rate_at(rates, 99) == {"lr": 0.25}
    assert rate_at({}, 3) == rates_of([{"kind": "train", "step": 1, "lr": 0.0}]) == {}


def test_logged_numbers_are_means_of_stretches_with_the_rate_at_their_end():
    records = [health(s, 0, consistency=s / 100) for s in range(1, 25)]
    records += [{"kind": "train", "step": s, "lr": 1.0 - s / 100} for s in range(25)]
    found = logged(records)
    assert [step for step, _ in found] == list(range(2, 25, 2))
    assert found[0][1]["view_consistency"] == pytest.approx(0.015)
    assert found[-1][1]["lr"] == pytest.approx(0.76)


def test_flags_are_taken_out_of_what_was_typed():
    typed = ["manyviews", "train", "--out", "run", "--a=1", "--out=x", "--data", "d"]
    assert without(typed, "--out", "--a") == ["manyviews", "train", "--data", "d"]


def test_a_short_run_is_told_so_with_what_to_type(run):
    found = manyviews.diagnose(run, sample=24, views=2, clusters=2)
    enough = found.verdict.answers[2]
    assert enough.light == "warn"
    assert "1.3 passes over 24 images, 4 steps" in enough.number
    first = found.verdict.next[0].command
    factor = int(np.ceil(FEW / (4 / 3)))
    assert first.startswith("manyviews train simclr --data ")
    assert f"--train.steps {4 * factor} " in first
    assert first.endswith(f"--out {run}-longer")
    assert first.count("--out") == 1
    assert f"{factor} times as long" in found.verdict.next[0].why


def test_the_report_answers_as_the_diagnosis_does(run):
    found = manyviews.diagnose(run, sample=24, views=2, clusters=2)
    manyviews.report(run)
    page = (run / "report.html").read_text()
    for answer in (found.verdict.answers[0], found.verdict.answers[2]):
        assert answer.number in page
    assert found.verdict.next[0].command in re.sub(r"</?span[^>]*>", "", page)


def test_a_killed_run_is_to_be_resumed(run):
    assembly = assembly_of(run)
    records = [r for r in judging.read.read_metrics(run) if r["step"] <= 2]
    found = judging._course(assembly, run.parent, records, 2, None)
    assert (found.steps, found.share, found.passes) == (2, 0.5, pytest.approx(2 / 3))


def test_a_task_is_judged_by_the_last_quarter_of_its_checks():
    checks = [{"kind": "health", "watch/over_guess": x} for x in (1.0, 0.9, 0.8, 0.7, 0.6)]
    steps = [{"kind": "step", "loss": 3.0}]
    assert task_of([*checks, *steps]) == pytest.approx(0.65)
    assert task_of([*checks[:2], {"kind": "health", "watch/over_guess": None}]) == 0.9
    assert task_of(steps) is None


def test_passes_leave_out_what_fills_no_batch(run):
    assembly = assembly_of(run)
    small = replace(assembly.run, data=replace(assembly.run.data, batch_size=7))
    found = judging._course(replace(assembly, run=small, steps_per_epoch=3), run, [], 3, None)
    assert found.passes == 21 / 24
