"""Two gloo ranks: equal to one process, and unanimous when something goes wrong on one of them."""

import json
import os
import signal
import socket
from dataclasses import replace

import pytest
import torch

from forks import fork, run_ranks, wait
from manyviews.core import Encoder, comm
from manyviews.runs.folder.lock import RunDirectory
from manyviews.training import launch, loop
from manyviews.training.job import Collapsed
from manyviews.training.settings import Optim, Train
from toy import Toy, batches, job


def start(path, method, *, rank=0, world=1, steps=6, **changes):
    """What a rank runs: its share of each batch. Returns the training and its outcome."""
    settings = {"steps": steps, "precision": "fp32", "log_every": 1, "checkpoint_every": 4}
    train = Train(**settings | changes.pop("train", {}))
    stream = batches(rank=rank, world=world, accumulate=train.accumulate)
    with RunDirectory(path) as directory:
        spec = job(
            directory, method, **{"train": train, "batches": stream, "resume": True} | changes
        )
        with loop.Stop() as stop:
            training = loop._Training(spec, stop)
            return training, training.run()


def both(tmp_path, action):
    """Run on two ranks; each one's result, as it was saved."""

    def body(rank):
        torch.save(action(rank), tmp_path / f"rank{rank}.pt")

    assert run_ranks(2, body, meeting=tmp_path / "meeting") == [0, 0]
    return [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def state_of(training):
    """Weights, buffers and the optimiser's state."""
    tensors = {k: v.clone() for k, v in training.method.state_dict().items()}
    for name, p in training.method.named_parameters():
        entry = training.updates.optimizer.state.get(p, {})
        tensors |= {f"{name}/{k}": v.clone() for k, v in entry.items()}
    return tensors


def lines(path):
    return [json.loads(x) for x in (path / "metrics.jsonl").read_text().splitlines()]


class Plain(Toy):
    """No batch norm over a rank alone, no dropout; the queue takes all ranks' keys in order."""

    def __init__(self, **settings):
        super().__init__(dropout=0.0, norm=False, **settings)


def test_two_ranks_end_as_one_process_does(tmp_path):
    optim = Optim(name="lars", lr=0.5, lr_per=0, clip=0.5)

    def action(rank):
        return state_of(start(tmp_path / "two", Plain(), rank=rank, world=2, optim=optim)[0])

    first, second = both(tmp_path, action)
    training, _ = start(tmp_path / "one", Plain(), optim=optim)
    for name, wanted in state_of(training).items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], wanted, rtol=2e-4, atol=1e-5, msg=name)
    pairs = zip(lines(tmp_path / "two"), lines(tmp_path / "one"), strict=True)
    for two, one in pairs:
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)


class Body(Encoder):
    """The network as an encoder of two layers."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, **asked):
        return self.inner(x)

    def by_depth(self):
        return [list(self.inner[1].parameters()), list(self.inner[2:].parameters())]


class Held(Plain):
    """Its network is an encoder, which can stand still."""

    def __init__(self):
        super().__init__()
        self.online, self.target = Body(self.online), Body(self.target)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_encoder_stands_still_on_two_ranks_as_on_one(tmp_path, accumulate):
    class NoQueue(Held):
        def after_backward(self, step, clock):
            """With a queue, one rank's second micro-batch would see other keys."""

    optim = Optim(name="adamw", lr=0.05, lr_per=0, layer_decay=0.5)
    changes = {"optim": optim, "train": {"accumulate": accumulate, "freeze_encoder": 4.0}}
    halfway = {**changes, "train": changes["train"] | {"steps": 6}}

    def action(rank):
        return state_of(start(tmp_path / "two", NoQueue(), rank=rank, world=2, **halfway)[0])

    first, second = both(tmp_path, action)
    training, _ = start(tmp_path / "one", NoQueue(), **halfway)
    for name, wanted in state_of(training).items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], wanted, rtol=2e-4, atol=1e-5, msg=name)
    assert first["online.inner.1.weight/step"] == 2  # of six, four stood still
    assert first["head.weight/step"] > 2


def test_accumulated_gradients_are_exchanged_once_and_are_right(tmp_path):
    optim = Optim(name="sgd", lr=0.1, lr_per=0)
    changes = {"optim": optim, "train": {"accumulate": 2}}

    class NoQueue(Plain):
        def after_backward(self, step, clock):
            """With a queue, one rank's second micro-batch would see other keys."""

    def action(rank):
        return state_of(start(tmp_path / "two", NoQueue(), rank=rank, world=2, **changes)[0])

    first, _ = both(tmp_path, action)
    training, _ = start(tmp_path / "one", NoQueue(), **changes)
    for name, wanted in state_of(training).items():
        torch.testing.assert_close(first[name], wanted, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("fault", ["loss", "gradient"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_fault_on_one_rank_leaves_everything_untouched_on_both(tmp_path, fault, accumulate):
    """Batch norm and dropout are on: the forward itself has written statistics by then."""

    def action(rank):
        states = {}

        class Watched(Toy):
            def forward(self, batch, clock):
                if clock.step not in states:
                    states[clock.step] = state_of(training[0]) if training else {}
                return super().forward(batch, clock)

        training = []
        make = loop._Training.__init__

        def remember(self, *args):
            training.append(self)
            make(self, *args)

        loop._Training.__init__ = remember
        _, outcome = start(
            tmp_path / "run",
            Watched(poison={4: fault} if rank == 1 else {}),
            rank=rank,
            world=2,
            train={"accumulate": accumulate},
        )
        loop._Training.__init__ = make
        return {"before": states[4], "after": states[5], "skipped": outcome.skipped}

    for result in both(tmp_path, action):
        assert result["skipped"] == 1
        assert result["before"].keys() == result["after"].keys()
        for name, value in result["before"].items():
            assert torch.equal(value, result["after"][name]), name
    (skip,) = [x for x in lines(tmp_path / "run") if x["kind"] == "skip"]
    assert (skip["step"], skip["fault"], len(set(skip["samples"]))) == (5, fault, 8)


def test_ranks_go_back_together(tmp_path):
    def action(rank):
        poison = dict.fromkeys((5, 6, 7), "loss") if rank == 1 else {}
        training, outcome = start(
            tmp_path / "run", Plain(poison=poison), rank=rank, world=2, steps=10
        )
        return {**state_of(training), "rewinds": outcome.rewinds}

    first, second = both(tmp_path, action)
    assert first["rewinds"] == second["rewinds"] == 1
    assert all(torch.equal(first[n], second[n]) for n in first if n != "rewinds")


class Stopping(Plain):
    """Sends a signal to its own process in the fifth step, if it is that rank."""

    def __init__(self, rank):
        super().__init__()
        self.rank = rank

    def forward(self, batch, clock):
        if clock.step == 4 and comm.rank() == self.rank:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().forward(batch, clock)


def test_a_signal_to_one_rank_stops_both_after_the_same_step(tmp_path):
    def action(rank):
        _, outcome = start(tmp_path / "run", Stopping(1), rank=rank, world=2, steps=500)
        return {"status": outcome.status, "steps": outcome.steps}

    assert both(tmp_path, action) == [{"status": "interrupted", "steps": 5}] * 2
    assert (tmp_path / "run" / "checkpoints" / "step_5").is_dir()


def in_double(stream):
    """The same views in float64."""

    def doubled(start, stop):
        for step in stream(start, stop):
            yield [
                replace(batch, views={name: v.double() for name, v in batch.views.items()})
                for batch in step
            ]

    return doubled


def double(path, *, rank=0, world=1, method=None, **settings):
    """As `start`, all in float64."""
    stream = in_double(batches(rank=rank, world=world))
    method = (method or Plain()).double()
    return start(path, method, rank=rank, world=world, batches=stream, **settings)


def test_all_that_ranks_differ_by_is_rounding(tmp_path):
    """In float64 the difference is 1e-9 times that in float32, after 30 steps as after one.

    So it is the order of sums, which training then magnifies as it does any other last bit.
    """
    settings = {"steps": 30, "optim": Optim(name="adamw", lr=0.01, lr_per=0)}

    def action(rank):
        training, _ = double(tmp_path / "two", rank=rank, world=2, **settings)
        return state_of(training)

    first, _ = both(tmp_path, action)
    training, _ = double(tmp_path / "one", **settings)
    for name, wanted in state_of(training).items():
        torch.testing.assert_close(first[name], wanted, rtol=1e-11, atol=1e-13, msg=name)
    pairs = zip(lines(tmp_path / "two"), lines(tmp_path / "one"), strict=True)
    assert all(two["loss"] == pytest.approx(one["loss"], rel=1e-13) for two, one in pairs)


def test_one_process_goes_on_with_what_two_ranks_began_up_to_rounding(tmp_path):
    def action(rank):
        _, outcome = double(tmp_path / "run", rank=rank, world=2, method=Stopping(0), steps=30)
        return {"steps": torch.tensor(outcome.steps)}

    assert both(tmp_path, action)[0]["steps"] == 5
    resumed, _ = double(tmp_path / "run", steps=30)
    whole, _ = double(tmp_path / "one", steps=30)
    found = state_of(resumed)
    for name, wanted in state_of(whole).items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-11, atol=1e-13, msg=name)


def test_two_ranks_resume_what_one_process_began(tmp_path):
    """Only rank 0 writes; all read. Equal up to rounding, which AdamW magnifies a little."""
    assert start(tmp_path / "run", Stopping(0), steps=9)[1].status == "interrupted"

    def action(rank):
        training, _ = start(tmp_path / "run", Plain(), rank=rank, world=2, steps=9)
        return state_of(training)

    first, second = both(tmp_path, action)
    training, _ = start(tmp_path / "one", Plain(), steps=9)
    for name, wanted in state_of(training).items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], wanted, rtol=1e-3, atol=1e-4, msg=name)


def test_ranks_share_one_clock_and_one_end(tmp_path):
    """With a budget of minutes, rank 0's time counts, however fast another rank's clock is."""

    def action(rank):
        clocks = []

        class Watched(Plain):
            def forward(self, batch, clock):
                clocks.append([clock.step, clock.total])
                return super().forward(batch, clock)

        now = [0.0]

        def perf_counter():
            now[0] += 0.1 if rank == 0 else 1000.0
            return now[0]

        loop.time.perf_counter = perf_counter
        start(tmp_path / "run", Watched(), rank=rank, world=2, train={"steps": 0, "minutes": 0.1})
        return torch.tensor(clocks)

    first, second = both(tmp_path, action)
    assert len(first) > 5
    assert torch.equal(first, second)


def test_a_collapse_seen_by_one_rank_stops_both(tmp_path):
    def action(rank):
        def monitor(method, step, clock, losses):
            if rank == 1 and clock.step == 3:
                raise Collapsed("constant")
            return {}

        _, outcome = start(
            tmp_path / "run",
            Plain(),
            rank=rank,
            world=2,
            train={"health_every": 1},
            monitors=[monitor],
        )
        return {"status": outcome.status, "steps": outcome.steps}

    assert both(tmp_path, action) == [{"status": "collapsed", "steps": 4}] * 2


def test_ranks_join_as_torchrun_tells_them_and_leave_again(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def rank_of(rank):
        def action():
            told = {"WORLD_SIZE": "2", "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}
            os.environ |= {**told, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
            with launch.ranks(torch.device("cpu")):
                assert (comm.rank(), comm.world_size()) == (rank, 2)
                assert comm.total(torch.ones(())) == 2
            assert comm.world_size() == 1

        return action

    assert [wait(child) for child in [fork(rank_of(0)), fork(rank_of(1))]] == [0, 0]
