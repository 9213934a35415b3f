"""A small method with every kind of state: batch norm, dropout, EMA copy, queue, frozen head."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from manyviews.core import Batch, Given, Group, Method, Step, comm
from manyviews.runs.folder.lock import RunDirectory
from manyviews.training.job import Job
from manyviews.training.settings import Optim, Train

SAMPLES, SIDE, DIM = 24, 4, 8


class Toy(Method):
    def __init__(self, *, dropout=0.1, norm=True, poison=()):
        super().__init__(Given({}))
        torch.manual_seed(0)
        middle = nn.BatchNorm1d(12) if norm else nn.LayerNorm(12)
        self.online = nn.Sequential(
            nn.Flatten(),
            nn.Linear(SIDE * SIDE, 12),
            middle,
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(12, DIM),
        )
        self.head = nn.Linear(DIM, DIM, bias=False)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(16, DIM), dim=1))
        self.register_buffer("epochs_begun", torch.zeros((), dtype=torch.int64))
        self.poison = dict(poison)  # step -> "loss" or "gradient"

    def param_groups(self):
        return [
            Group(list(self.online.parameters())),
            Group(list(self.head.parameters()), frozen_until=0.25),
        ]

    def forward(self, batch, clock):
        one, two = batch.views["global"].unbind(1)
        h = self.online(one)
        z = F.normalize(self.head(h), dim=1)
        with torch.no_grad():
            key = F.normalize(self.target(two), dim=1)
        attract = 2 - 2 * (z * key).sum(1).mean()
        repel = 0.1 * torch.logsumexp(z @ self.queue.T / 0.2, dim=1).mean()
        match self.poison.get(clock.step):
            case "loss":
                attract = attract * float("nan")
            case "gradient":  # finite value, infinite slope
                attract = attract + (z[0, 0] - z[0, 0].detach()).abs().sqrt()
        return Step(
            {"attract": attract, "repel": repel},
            embedding={"image": h.detach()[:, None]},
            fresh={"key": key},
        )

    def before_epoch(self, clock, embed_all):
        self.epochs_begun += 1
        self.queue.add_(0.01 * torch.randn_like(self.queue))

    def after_backward(self, step, clock):
        key = comm.gather(step.fresh["key"])
        self.queue.copy_(torch.cat([key, self.queue])[: len(self.queue)])

    def after_step(self, clock):
        momentum = 0.9 + 0.1 * clock.progress
        for target, online in zip(self.target.parameters(), self.online.parameters(), strict=True):
            target.lerp_(online, 1 - momentum)


def views(index: torch.Tensor, epoch: int) -> torch.Tensor:
    """[B, 2, 1, S, S]: each sample's views depend on (epoch, index) alone."""
    rows = []
    for i in index.tolist():
        g = torch.Generator().manual_seed(1000 * epoch + i)
        base = torch.randn(1, SIDE, SIDE, generator=torch.Generator().manual_seed(i))
        rows.append(base + 0.1 * torch.randn(2, 1, SIDE, SIDE, generator=g))
    return torch.stack(rows)


def batches(*, batch_size=8, accumulate=1, rank=0, world=1):
    """A stand-in for the loader: what a step sees depends on the step alone."""
    per_epoch = SAMPLES // batch_size

    def stream(start: int, stop: int) -> Iterator[Sequence[Batch]]:
        for step in range(start, stop):
            epoch, place = divmod(step, per_epoch)
            order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch))
            index = order[place * batch_size : (place + 1) * batch_size].chunk(world)[rank]
            yield [Batch({"global": views(i, epoch)}, i) for i in index.chunk(accumulate)]

    return stream


def job(path: Path | RunDirectory, method: Method, **changes) -> Job:
    """A job on the toy data, of 3 steps per epoch; `train`, `optim` and others can be replaced."""
    directory = path if isinstance(path, RunDirectory) else RunDirectory(path)
    train = changes.pop("train", Train(epochs=4, precision="fp32", log_every=1))
    settings = {
        "method": method,
        "optim": Optim(name="adamw", lr=0.01, lr_per=0, warmup=0.1),
        "train": train,
        "seed": 3,
        "batch_size": 8,
        "steps_per_epoch": 3,
        "batches": batches(accumulate=train.accumulate),
        "directory": directory,
        "device": torch.device("cpu"),
        "tensorboard": False,
        "progress": False,
    }
    return Job(**settings | changes)
