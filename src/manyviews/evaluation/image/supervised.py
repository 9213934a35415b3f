"""Training an encoder with labels: its batches, its loss, and what comes of it."""

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Clock, Encoder, Failure
from manyviews.core.inputs import Pixels
from manyviews.core.sample import Bytes, Source
from manyviews.core.schedules import WarmupCosine
from manyviews.data.direct import made, opened
from manyviews.data.workers import each
from manyviews.evaluation.features import extract
from manyviews.evaluation.image.mix import mix, soft
from manyviews.evaluation.image.partial import param_groups, set_modes, thaw
from manyviews.evaluation.image.settings import FineTune
from manyviews.views.by_input import plain_of
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Crops

Progress = Callable[[int, int], None]
"""Told (steps done, steps in all)."""

log = logging.getLogger("manyviews")

_ORDER, _MIX = 1, 2  # what a stream of random numbers is for


class Classifier(nn.Module):
    """An encoder with a linear layer on its pooled output: [B, C, H, W] -> scores [B, K]."""

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.dim, classes)
        # all classes begin equally likely (facebookresearch/mae main_finetune.py)
        nn.init.trunc_normal_(self.head.weight, std=2e-5)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        return self.head(self.encoder(x).pooled)


@dataclass(frozen=True)
class Part:
    """Some rows of a labelled data set.

    Attributes:
        source: all images.
        labels: [N] int64, of all images.
        rows: [M] int64, those that belong to this part.
    """

    source: Source
    labels: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Training:
    """What one training is told.

    Attributes:
        lr: peak learning rate for 256 images a step.
        settings: the recipe.
        input: what the encoder is fed.
        classes: K.
    """

    lr: float
    settings: FineTune
    input: Pixels
    classes: int


@dataclass
class Setup:
    """What goes on across trainings: where, how far, and which images could not be read."""

    device: torch.device
    workers: int
    progress: Progress | None
    total: int = 0
    done: int = 0
    bad: set[int] = field(default_factory=set[int])
    warn: Callable[[str], object] = log.warning

    def step(self, bad: list[int]) -> None:
        """One more step is done; `bad` are the rows of it that could not be read."""
        self.done += 1
        self.bad.update(bad)
        if self.progress is not None:
            self.progress(self.done, self.total)


class Batches:
    """Step -> readable rows [B], their views [B, S, S, C] (None without any), unreadable rows.

    A pure function of the step, so worker processes change nothing.
    """

    def __init__(self, part: Part, training: Training) -> None:
        plan = training.settings
        crops = Crops(
            count=1,
            scale=(plan.crop, 1.0),
            interpolation="bicubic",
            flip=plan.flip,
            jitter=0,
            grey=0,
            blur=(0.0,),
        )
        self.pipeline = Pipeline({"global": crops}, {"image": Fed(training.input)}, seed=plan.seed)
        self.part, self.seed, self.size = part, plan.seed, plan.size(len(part))
        self.order = -1, np.empty(0, dtype=np.int64)

    def __call__(self, step: int) -> tuple[list[int], Bytes | None, list[int]]:
        """The batch of one step."""
        epoch, place = divmod(step, len(self.part) // self.size)
        if self.order[0] != epoch:
            rng = np.random.default_rng([_ORDER, self.seed, epoch])
            self.order = epoch, rng.permutation(self.part.rows.numpy())
        rows = self.order[1][place * self.size : (place + 1) * self.size].tolist()
        items, bad = opened(self.part.source, self.pipeline, rows)
        if not items:
            return [], None, sorted(bad)
        views, _ = made(self.pipeline, items, epoch=epoch)
        return list(items), views["global"][:, 0], sorted(bad)

    def finished(self, views: Bytes, device: torch.device) -> Tensor:
        """[B, C, S, S] as the encoder takes them, of the views of a step [B, S, S, C]."""
        raw = {"global": torch.from_numpy(views)[:, None]}
        return self.pipeline.finish(raw, {}, torch.zeros(0), device).views["global"][:, 0]


def fit(encoder: Encoder, part: Part, training: Training, run: Setup) -> Classifier:
    """A copy of the encoder and a new classifier, trained; the caller's random state is kept."""
    plan, device = training.settings, run.device
    rate = training.lr * plan.size(len(part)) / 256
    schedule, steps = WarmupCosine(rate, warmup=plan.warmup), plan.steps(len(part))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(plan.seed)
        model = Classifier(copy.deepcopy(encoder), training.classes).to(device)
        thaw(model.encoder, plan.blocks)
        set_modes(model)
        groups = param_groups(
            model.encoder,
            model.head,
            layer_decay=plan.layer_decay,
            weight_decay=plan.weight_decay,
        )
        optimizer = torch.optim.AdamW(groups, lr=0.0, fused=True)
        reader = Batches(part, training)
        batches = each(reader, range(steps), workers=run.workers)
        for step, (rows, views, bad) in enumerate(batches):
            if views is not None:
                for group in optimizer.param_groups:
                    group["lr"] = schedule.at(Clock(step, steps)) * group["lr_scale"]
                optimizer.zero_grad(set_to_none=True)
                images = reader.finished(views, device)
                loss = _loss(model, images, part.labels[rows], training, step)
                loss.backward()
                optimizer.step()
                _check_loss(loss, step, training)
            run.step(bad)
    return model


def _loss(
    model: Classifier, images: Tensor, labels: Tensor, training: Training, step: int
) -> Tensor:
    """Cross entropy with mixed and smoothed labels."""
    plan, device = training.settings, images.device
    targets = soft(labels.to(device), training.classes, plan.smoothing)
    rng = np.random.default_rng([_MIX, plan.seed, step])
    images, targets = mix(images, targets, mixup=plan.mixup, cutmix=plan.cutmix, rng=rng)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        scores = model(images)
    return F.cross_entropy(scores.float(), targets)


def score(model: Classifier, part: Part, input: Pixels, run: Setup) -> tuple[int, int]:
    """How many of the readable images are classified rightly, and how many there are."""
    model.eval()
    found = extract(
        model,
        part.source,
        plain_of(input),
        rows=part.rows.tolist(),
        device=run.device,
        workers=run.workers,
        warn=run.warn,
    )
    labels = part.labels[found.index]
    return int((found.features.argmax(dim=1) == labels).sum()), len(labels)


def _check_loss(loss: Tensor, step: int, training: Training) -> None:
    if not math.isfinite(float(loss.detach())):
        raise Failure(
            f"Fine-tuning diverged: the loss is {float(loss.detach())} at step {step + 1}, with "
            f"the learning rate {training.lr:g}. Lower lr."
        )
