import dataclasses
import json
import logging
import math
import weakref

import pytest
import torch

from manyviews.core import Failure, UsageError
from manyviews.runs.folder.lock import RunDirectory
from manyviews.training import journal, loop, precision
from manyviews.training.job import Collapsed
from manyviews.training.loop import fit
from manyviews.training.settings import Optim, Train
from toy import Toy, batches, job


def train(path, method=None, **changes):
    """A finished training: method, outcome, lines of metrics."""
    method = method or Toy()
    with RunDirectory(path) as directory:
        outcome = fit(job(directory, method, **changes))
    return method, outcome, lines(path)


def lines(path, kind=""):
    found = [json.loads(x) for x in (path / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"].startswith(kind)]


def settings(**changes):
    return Train(**{"precision": "fp32", "log_every": 1} | changes)


def test_training_lowers_the_loss_and_logs_every_step(tmp_path):
    _, outcome, found = train(tmp_path, train=settings(epochs=20))
    assert (outcome.status, outcome.steps, outcome.skipped) == ("done", 60, 0)
    steps = [line["step"] for line in found]
    assert steps == list(range(1, 61))
    assert found[-1]["loss"] < 0.8 * found[0]["loss"]
    assert found[5]["loss"] == found[5]["losses/attract"] + found[5]["losses/repel"]
    keys = {"epoch", "lr", "weight_decay", "grad_norm", "seconds", "images_per_second", "data_wait"}
    assert keys < found[0].keys()
    assert [line["epoch"] for line in found[:4]] == [0, 0, 0, 1]
    assert outcome.images_per_second == pytest.approx(60 * 8 / outcome.seconds)
    assert 0 <= outcome.data_wait <= 1
    assert outcome.steps == 60


def test_two_runs_with_one_seed_are_equal_and_another_seed_is_not(tmp_path):
    ends = [train(tmp_path / str(i), seed=seed)[0].state_dict() for i, seed in enumerate((3, 3, 4))]
    assert all(torch.equal(ends[0][n], ends[1][n]) for n in ends[0])
    assert not all(torch.equal(ends[0][n], ends[2][n]) for n in ends[0])


def test_what_an_epoch_draws_depends_on_the_seed_and_the_step_it_begins_at(tmp_path):
    class Draws(Toy):
        def before_epoch(self, clock, embed_all):
            drawn[seed, clock.step] = torch.rand(4).tolist()

    drawn = {}
    for seed in (3, 4):
        train(tmp_path / str(seed), Draws(), seed=seed, train=settings(epochs=3))
    assert {step for _, step in drawn} == {0, 3, 6}
    assert len({tuple(numbers) for numbers in drawn.values()}) == 6
    first = dict(drawn)
    seed = 3
    train(tmp_path / "again", Draws(), seed=seed, train=settings(epochs=3))
    assert drawn == first


def test_accumulating_micro_batches_equals_one_batch(tmp_path):
    """Without batch norm, dropout and queue, two halves give the gradient of the whole."""
    ends = []
    for parts in (1, 2):
        method = Toy(dropout=0.0, norm=False)
        method.after_backward = lambda step, clock: None
        changes = {"optim": Optim(name="sgd", lr=0.1, lr_per=0)}
        method, _, found = train(
            tmp_path / str(parts), method, train=settings(epochs=4, accumulate=parts), **changes
        )
        ends.append((method.online[1].weight.detach(), [x["loss"] for x in found]))
    torch.testing.assert_close(ends[0][0], ends[1][0], rtol=1e-5, atol=1e-6)
    assert ends[0][1] == pytest.approx(ends[1][1], rel=1e-5)


def test_the_order_of_a_step_is_the_methods_contract(tmp_path):
    calls = []

    class Recorder(Toy):
        def before_epoch(self, clock, embed_all):
            calls.append(("before_epoch", clock.step, clock.epoch))
            assert embed_all(len).tolist() == [1, 2]

        def forward(self, batch, clock):
            calls.append(("forward", clock.step))
            return super().forward(batch, clock)

        def after_backward(self, step, clock):
            calls.append(("after_backward", clock.step))
            assert not torch.is_grad_enabled()
            super().after_backward(step, clock)

        def after_step(self, clock):
            calls.append(("after_step", clock.step))
            assert not torch.is_grad_enabled()
            super().after_step(clock)

    train(
        tmp_path,
        Recorder(),
        train=settings(steps=4, accumulate=2),
        embed_all=lambda f: torch.tensor([1, 2]),
    )
    one = [("forward", 0), ("after_backward", 0)] * 2 + [("after_step", 0)]
    assert calls[:6] == [("before_epoch", 0, 0), *one]
    assert calls[16] == ("before_epoch", 3, 1)
    assert len(calls) == 2 + 4 * 5


def test_no_graph_outlives_its_backward(tmp_path):
    graphs = []

    class Marker(Toy):
        def forward(self, batch, clock):
            assert not any(graph() for graph in graphs)
            step = super().forward(batch, clock)

            def kept_by_the_graph(gradient):
                return gradient

            next(iter(step.losses.values())).register_hook(kept_by_the_graph)
            graphs.append(weakref.ref(kept_by_the_graph))
            return step

        def after_backward(self, step, clock):
            assert not any(graph() for graph in graphs)
            super().after_backward(step, clock)

    train(tmp_path, Marker(), train=settings(steps=3, accumulate=2))
    assert len(graphs) == 6


def test_bf16_reaches_the_forward_and_only_where_asked(tmp_path):
    seen = []

    class Looker(Toy):
        def forward(self, batch, clock):
            seen.append(self.online[1](batch.views["global"][:, 0].flatten(1)).dtype)
            return super().forward(batch, clock)

    for asked in ("bf16", "fp32"):
        train(tmp_path / asked, Looker(), train=settings(steps=1, precision=asked))
    assert seen == [torch.bfloat16, torch.float32]


def test_attention_in_bf16_has_its_gradient_in_float32(tmp_path, monkeypatch):
    class Attends(Toy):
        def forward(self, batch, clock):
            x = batch.views["global"].flatten(2)[:, :1, None, :4].bfloat16().requires_grad_()
            torch.nn.functional.scaled_dot_product_attention(x, x, x)
            return super().forward(batch, clock)

    seen, real = [], precision._in_float32
    monkeypatch.setattr(precision, "_in_float32", lambda *a: seen.append(a[0].dtype) or real(*a))
    for asked in ("bf16", "fp32"):
        train(tmp_path / asked, Attends(), train=settings(steps=1, precision=asked))
    assert seen == [torch.bfloat16]


def test_the_probe_runs_when_due_and_at_the_end(tmp_path):
    for every, wanted in ((1.0, [3, 6, 9, 11]), (2.0, [6, 11]), (0.0, [11]), (1 / 3, range(1, 12))):
        path = tmp_path / f"{every}"

        def probe(method, clock):
            return {"accuracy": clock.step / 100}

        train(path, train=settings(steps=11), probe=probe, probe_every=every)
        found = lines(path, "probe")
        assert [line["step"] for line in found] == list(wanted)
        assert found[-1]["accuracy"] == 0.11


def test_callbacks_run_after_each_epoch_and_their_time_is_no_training_time(tmp_path):
    clocks = []

    def callback(method, clock):
        loop.time.sleep(0.05)
        method.eval()
        clocks.append((clock.step, clock.epoch))
        return {"found": 1.0}

    method, outcome, _ = train(tmp_path, train=settings(steps=7), after_epoch=[callback])
    assert clocks == [(3, 1), (6, 2)]
    assert [line["step"] for line in lines(tmp_path, "epoch")] == [3, 6]
    assert outcome.aside_seconds >= 0.1
    assert outcome.seconds < outcome.aside_seconds + 1.0
    assert method.training
    assert method.online[4].training


def test_callbacks_change_nothing_in_training(tmp_path):
    def probe(method, clock):
        torch.randn(100)
        return {}

    plain, _, _ = train(tmp_path / "plain")
    probed, _, _ = train(tmp_path / "probed", probe=probe, after_epoch=[probe], monitors=[
        lambda method, step, clock, losses: {"noise": torch.rand(()).item()}
    ])  # fmt: skip
    for (n, a), b in zip(plain.state_dict().items(), probed.state_dict().values(), strict=True):
        assert torch.equal(a, b), n


def test_monitors_are_asked_at_their_interval_and_logged(tmp_path):
    def monitor(method, step, clock, losses):
        assert losses["loss"] == pytest.approx(losses["attract"] + losses["repel"])
        assert step.embedding["image"].shape == (8, 1, 8)
        return {"health": 0.0, "at": float(clock.step)}

    train(tmp_path, train=settings(steps=260, health_every=25), monitors=[monitor])
    every, spread = set(range(25, 260, 25)), set(range(10, 261, 10))
    checked = sorted({1} | every | spread)
    found = [(x["step"], x["at"]) for x in lines(tmp_path, "health")]
    assert found == [(step, step - 1.0) for step in checked]


@pytest.mark.parametrize("length", [{"steps": 1}, {"steps": 2}, {"steps": 7}, {"epochs": 3}])
def test_health_is_checked_at_both_ends_of_any_training(tmp_path, length):
    train(tmp_path, train=settings(**length), monitors=[lambda *_: {"health": 0.0}])
    steps = [x["step"] for x in lines(tmp_path, "health")]
    last = lines(tmp_path, "train")[-1]["step"] if "epochs" in length else length["steps"]
    assert steps[0] == 1
    assert steps[-1] >= last
    assert len(steps) == len(set(steps)) <= 28


def test_what_the_duration_buys_is_said_once_its_pace_is_known(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "manyviews")
    monkeypatch.setattr(journal, "_SECONDS", 0.0)
    paces = []

    def words(speed):
        paces.append(speed)
        return ["20 minutes are long"]

    _, outcome, _ = train(tmp_path / "a", train=settings(steps=9), budget=words)
    [pace] = paces
    assert 0 < pace < 100 * outcome.images_per_second
    assert [r.getMessage() for r in caplog.records].count("20 minutes are long") == 1
    train(tmp_path / "b", train=settings(steps=2), budget=words)  # too short to tell
    assert len(paces) == 1


def test_a_collapse_stops_and_saves(tmp_path):
    def monitor(method, step, clock, losses):
        if clock.step >= 5:
            raise Collapsed("all embeddings are equal")
        return {}

    changes = {"train": settings(epochs=4, health_every=1), "monitors": [monitor]}
    _, outcome, _ = train(tmp_path, **changes)
    assert (outcome.status, outcome.steps) == ("collapsed", 6)
    assert outcome.message == "all embeddings are equal"
    assert (tmp_path / "checkpoints" / "step_6").is_dir()


def test_a_monitor_that_remembers_goes_on_counting(tmp_path):
    class Counter:
        def __init__(self):
            self.count = 0

        def __call__(self, method, step, clock, losses):
            self.count += 1
            return {"count": float(self.count)}

        def state(self):
            return {"count": self.count}, {"double": torch.tensor(2 * self.count)}

        def restore(self, numbers, tensors):
            assert tensors["double"] == 2 * numbers["count"]
            self.count = numbers["count"]

    for steps in (4, 7):
        changes = {"train": settings(steps=steps, health_every=1), "resume": steps == 7}
        train(tmp_path, monitors=[Counter()], **changes)
    assert [x["count"] for x in lines(tmp_path, "health")] == [1, 2, 3, 4, 5, 6, 7]


def budget(**changes):
    return settings(minutes=0.5, checkpoint_every=99, **changes)


def test_a_budget_of_minutes_is_kept_and_schedules_fit_it(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    progress, probes = [], []

    class Slow(Toy):
        def forward(self, batch, clock):
            now[0] += 0.5
            progress.append((now[0] - 100.5 - sum(probes), clock))
            return super().forward(batch, clock)

    def probe(method, clock):
        now[0] += 5.0
        probes.append(5.0)
        return {}

    _, outcome, _ = train(
        tmp_path,
        Slow(),
        train=settings(minutes=0.5, checkpoint_every=99),
        probe=probe,
        probe_every=0.2,
    )
    assert outcome.status == "done"
    assert (outcome.steps, outcome.seconds) == (60, 30.0)
    assert outcome.aside_seconds == 5.0 * len(probes) == 15.0
    for seconds, clock in progress:
        assert clock.progress == pytest.approx(seconds / 30, abs=0.02)
    assert progress[-1][1].total == 60


def test_a_resumed_budget_counts_what_was_used_before(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])

    class Slow(Toy):
        def forward(self, batch, clock):
            now[0] += 1.0
            return super().forward(batch, clock)

    def stop(method, step, clock, losses):
        if clock.step == 9:
            raise Collapsed("enough")
        return {}

    one = train(
        tmp_path,
        Slow(),
        train=settings(minutes=0.5, health_every=1, checkpoint_every=99),
        monitors=[stop],
    )
    assert (one[1].steps, one[1].seconds) == (10, 10.0)
    two = train(tmp_path, Slow(), train=budget(), resume=True)
    assert (two[1].steps, two[1].seconds) == (30, 30.0)


def test_checkpoints_come_at_their_interval_and_at_the_end(tmp_path):
    train(tmp_path, train=settings(steps=11, checkpoint_every=4, keep=9))
    found = {p.name for p in (tmp_path / "checkpoints").iterdir()}
    assert found == {"latest", "step_0", "step_4", "step_8", "step_11"}


def test_without_an_interval_each_epoch_is_saved_unless_saving_is_dear(tmp_path, monkeypatch):
    from manyviews.training import keeper

    ends = {*range(3, 18, 3), *range(2, 18, 2), 18}  # of epochs, and of ninths of the training
    for share, wanted in ((1e9, ends), (0.0, {18})):
        monkeypatch.setattr(keeper, "_SHARE", share)
        path = tmp_path / str(share)
        train(path, train=settings(steps=18, keep=99))
        found = {p.name for p in (path / "checkpoints").iterdir()}
        assert found == {"latest", "step_0", *(f"step_{s}" for s in wanted)}


def test_a_resumed_run_counts_its_ten_minutes_from_the_last_checkpoint(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(loop.checkpoint, "SPREAD", 0)  # nothing but the minutes

    class Slow(Toy):
        def forward(self, batch, clock):
            now[0] += 100.0
            return super().forward(batch, clock)

    for steps in (8, 18):
        changes = {"train": settings(steps=steps, keep=99), "steps_per_epoch": 1000}
        train(tmp_path, Slow(), resume=True, **changes)
    found = {p.name for p in (tmp_path / "checkpoints").iterdir()}
    assert found == {"latest", *(f"step_{s}" for s in (0, 6, 8, 14, 18))}


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    train(tmp_path, train=settings(steps=1))
    with pytest.raises(UsageError, match=r"already holds a run\. Continue it with `manyviews res"):
        train(tmp_path, train=settings(steps=1))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({}, r"exactly one of steps, epochs and minutes; it has none"),
        ({"steps": 1, "epochs": 2}, r"it has steps and epochs"),
        ({"steps": 1, "log_every": 0}, r"train\.log_every is 0.*--train\.log-every"),
        ({"steps": 1, "accumulate": 0}, r"train\.accumulate is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, changes, match):
    with pytest.raises(UsageError, match=match):
        job(tmp_path, Toy(), train=Train(**changes))


def test_data_that_end_too_early_are_a_failure(tmp_path):
    def short(start, stop):
        return batches()(start, 2)

    with pytest.raises(Failure, match="The data ended at step 2"):
        train(tmp_path, batches=short)


def test_the_data_are_closed_however_training_ends(tmp_path):
    closed = []

    def stream(start, stop):
        try:
            yield from batches()(start, stop)
        finally:
            closed.append(True)

    def broken(method, clock):
        raise Failure("broken")

    with pytest.raises(Failure, match="broken"):
        train(tmp_path, batches=stream, after_epoch=[broken])
    assert closed == [True]


@pytest.mark.parametrize("fault", ["loss", "gradient"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_is_not_finite_changes_nothing_and_is_named(
    tmp_path, caplog, fault, accumulate
):
    states = []

    class Watched(Toy):
        def forward(self, batch, clock):
            if len(states) <= clock.step:
                states.append({k: v.clone() for k, v in self.state_dict().items()})
            return super().forward(batch, clock)

    with caplog.at_level(logging.WARNING, "manyviews"):
        _, outcome, _ = train(
            tmp_path,
            Watched(poison={4: fault}),
            train=settings(steps=6, accumulate=accumulate),
        )
    assert outcome.skipped == 1
    before, after = states[4], states[5]
    assert all(torch.equal(before[n], after[n]) for n in before)
    assert not all(torch.equal(states[3][n], before[n]) for n in before)
    (skip,) = lines(tmp_path, "skip")
    assert (skip["step"], skip["fault"], len(skip["samples"])) == (5, fault, 8)
    assert f"Step 5 skipped: {fault} not finite. Samples {skip['samples'][0]}" in caplog.text
    assert [x["step"] for x in lines(tmp_path, "train")] == [1, 2, 3, 4, 6]


def test_a_skipped_step_leaves_the_optimiser_as_it_was(tmp_path):
    """AdamW's own step count tells: six steps, one of them skipped."""
    with RunDirectory(tmp_path) as directory:
        training = loop._Training(
            job(directory, Toy(poison={4: "loss"}), train=settings(steps=6)), loop.Stop()
        )
        training.run()
    counts = {int(s["step"]) for s in training.updates.optimizer.state.values()}
    assert counts == {5, 3}  # the head was frozen for a quarter of training


def test_three_bad_steps_go_back_to_the_last_checkpoint_and_skip_their_data(tmp_path):
    states = {}

    class Watched(Toy):
        def forward(self, batch, clock):
            states[clock.step] = {k: v.clone() for k, v in self.state_dict().items()}
            return super().forward(batch, clock)

    poison = {s: "loss" for s in (6, 7, 8)}
    _, outcome, _ = train(
        tmp_path, Watched(poison=poison), train=settings(steps=12, checkpoint_every=4)
    )
    assert (outcome.skipped, outcome.rewinds, outcome.steps) == (3, 1, 12)
    (rewind,) = lines(tmp_path, "rewind")
    assert (rewind["step"], rewind["to"]) == (9, 4)
    changed = [n for n in states[4] if not torch.equal(states[9][n], states[4][n])]
    assert changed == ["queue", "epochs_begun"]  # a new epoch begins at step 9
    assert [x["step"] for x in lines(tmp_path, "train")] == [1, 2, 3, 4, 5, 6, 10, 11, 12]


def test_a_rewind_restores_the_optimiser_too(tmp_path):
    """With AdamW: steps 0-3 and 9-11 count, 4-5 were undone, 6-8 skipped."""
    poison = {s: "gradient" for s in (6, 7, 8)}
    with RunDirectory(tmp_path) as directory:
        spec = job(directory, Toy(poison=poison), train=settings(steps=12, checkpoint_every=4))
        training = loop._Training(spec, loop.Stop())
        training.run()
    counts = {int(s["step"]) for s in training.updates.optimizer.state.values()}
    assert counts == {7, 4}


def test_before_the_first_checkpoint_it_goes_back_to_the_beginning(tmp_path):
    _, outcome, _ = train(tmp_path, Toy(poison={1: "loss", 2: "loss", 3: "loss"}))
    assert outcome.rewinds == 1
    assert lines(tmp_path, "rewind")[0]["to"] == 0


def test_an_epoch_that_began_after_what_was_saved_is_begun_again(tmp_path):
    """Or a method that clusters would go on without its clusters."""
    begun = {}

    class Watched(Toy):
        def forward(self, batch, clock):
            begun[clock.step] = int(self.epochs_begun)
            return super().forward(batch, clock)

    _, outcome, _ = train(tmp_path, Watched(poison=dict.fromkeys((1, 2, 3), "loss")))
    assert outcome.rewinds == 1
    [rewind] = lines(tmp_path, "rewind")
    assert (rewind["step"], rewind["to"]) == (4, 0)
    assert [begun[step] for step in (0, 3, 4, 6)] == [1, 2, 1, 2]  # as saved there were none


def test_after_three_rewinds_it_fails_with_advice(tmp_path):
    poison = dict.fromkeys(range(5, 40), "loss")
    with pytest.raises(Failure, match=r"at step 17 after 3 returns .*Lower --optim\.lr"):
        train(tmp_path, Toy(poison=poison), train=settings(epochs=20, checkpoint_every=4))
    assert len(lines(tmp_path, "rewind")) == 3


def test_all_that_is_logged_is_finite_or_null(tmp_path):
    train(tmp_path, Toy(poison={2: "loss"}), monitors=[
        lambda method, step, clock, losses: {"odd": math.inf}
    ], train=settings(steps=4, health_every=1))  # fmt: skip
    text = (tmp_path / "metrics.jsonl").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert '"odd": null' in text


def test_tensorboard_files_are_written_where_it_is_installed(tmp_path):
    pytest.importorskip("tensorboard")
    train(tmp_path, train=settings(steps=2), tensorboard=True)
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_job_is_read_only(tmp_path):
    with pytest.raises(dataclasses.FrozenInstanceError):
        job(tmp_path, Toy()).seed = 4
