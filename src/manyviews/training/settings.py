"""How long to train, with which optimiser, and what to do on the way."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Optim:
    """The optimiser and its schedules; shares are of the whole training.

    Attributes:
        name: "lars" takes the norm of gradient plus decay and spares 1-D tensors (SimCLR, BYOL,
            Barlow Twins, VICReg); "larc" takes the sum of norms for every tensor (SwAV).
        lr: base learning rate, at the batch size `lr_per`.
        lr_per: the learning rate is lr * batch_size / lr_per; 0 takes lr as it is.
        lr_end: final learning rate as a share of the peak.
        lr_start: learning rate at step 0 as a share of the peak.
        warmup: share of training with a linear warm-up.
        by_epoch: change the learning rate between epochs only (MoCo v2).
        weight_decay: at the start, and unless `weight_decay_end` says otherwise to the end.
        weight_decay_end: cosine from weight_decay to this; -1 keeps it constant.
        decay_all: decay 1-D tensors too (the original MoCo, SimSiam, SwAV).
        lr_1d: lars only: base learning rate of 1-D tensors; -1 takes lr (Barlow Twins has its own).
        momentum: for sgd, lars, larc.
        betas: for adamw.
        clip: largest gradient norm; 0 for none.
        clip_each: clip each tensor by itself (DINO) rather than all together.
    """

    name: Literal["sgd", "lars", "larc", "adamw"] = "sgd"
    lr: float = 0.03
    lr_per: int = 256
    lr_end: float = 0.0
    lr_start: float = 0.0
    warmup: float = 0.0
    by_epoch: bool = False
    weight_decay: float = 1e-4
    weight_decay_end: float = -1.0
    decay_all: bool = False
    lr_1d: float = -1.0
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 0.0
    clip_each: bool = False


@dataclass(frozen=True, kw_only=True)
class Train:
    """How long, and what happens on the way. Exactly one of steps, epochs, minutes is not 0.

    Attributes:
        steps: optimiser steps.
        epochs: passes over the data.
        minutes: wall-clock budget that the schedules fit; training time of earlier parts of a
            resumed run counts. Bitwise resume holds for steps and epochs, not for minutes.
        accumulate: micro-batches per optimiser step and rank.
        precision: auto is bf16 where the hardware computes it natively, else fp32.
        checkpoint_every: steps between checkpoints; 0 saves every epoch or 10 minutes, whichever
            comes first, and at the end.
        keep: checkpoints to keep.
        log_every: steps between lines of metrics.jsonl.
        health_every: steps between health checks.
        on_collapse: after a sustained collapse alarm, go on or stop with exit code 20.
    """

    steps: int = 0
    epochs: int = 0
    minutes: float = 0.0
    accumulate: int = 1
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    checkpoint_every: int = 0
    keep: int = 2
    log_every: int = 10
    health_every: int = 100
    on_collapse: Literal["warn", "stop"] = "warn"
