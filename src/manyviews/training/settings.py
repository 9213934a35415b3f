"""How long to train, with which optimiser, and what to do on the way."""

from dataclasses import dataclass
from typing import Annotated, Literal

from manyviews.core.ranges import Count, Decaying, Natural, NotNegative, Range, Share


@dataclass(frozen=True, kw_only=True)
class Optim:
    """The optimiser and its schedules; shares are of the whole training.

    Attributes:
        name: "lars" takes the norm of gradient plus decay and spares 1-D tensors (BYOL, Barlow
            Twins, VICReg); "lars-classic" has the learning rate inside the momentum
            (SimCLR); "larc" takes the sum of norms for every tensor (SwAV). "adam" adds the decay
            to the gradient, "adamw" takes it off the weights.
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
        betas: for adam and adamw.
        clip: largest gradient norm; 0 for none.
        clip_each: clip each tensor by itself (DINO) rather than all together.
        layer_decay: factor on an encoder's learning rate for each block that stands between a
            layer and the heads, which keep the whole rate; 1 is off.
    """

    name: Literal["sgd", "lars", "lars-classic", "larc", "adam", "adamw"] = "sgd"
    lr: NotNegative = 0.03
    lr_per: Natural = 256
    lr_end: Share = 0.0
    lr_start: Share = 0.0
    warmup: Share = 0.0
    by_epoch: bool = False
    weight_decay: NotNegative = 1e-4
    weight_decay_end: Annotated[float, Range("0 or more, or -1 for no change", 0, off=-1)] = -1.0
    decay_all: bool = False
    lr_1d: Annotated[float, Range("0 or more, or -1 to take --optim.lr", 0, off=-1)] = -1.0
    momentum: Decaying = 0.9
    betas: tuple[Decaying, Decaying] = (0.9, 0.999)
    clip: NotNegative = 0.0
    clip_each: bool = False
    layer_decay: Annotated[float, Range("above 0 and up to 1", 0, 1, above=True)] = 1.0


@dataclass(frozen=True, kw_only=True)
class Train:
    """How long, and what happens on the way. Exactly one of steps, epochs, minutes is not 0.

    Attributes:
        steps: optimiser steps.
        epochs: over the data, each of its whole batches alone.
        minutes: wall-clock budget that the schedules fit; training time of earlier parts of a
            resumed run counts. Bitwise resume holds for steps and epochs, not for minutes.
        accumulate: micro-batches per optimiser step and rank.
        precision: auto is bf16 where the hardware computes it natively, else fp32.
        checkpoint_every: steps between checkpoints; 0 saves every epoch, ninth of the training or
            10 minutes, whichever comes first, and at the end.
        keep: newest checkpoints to keep. From 2 on up to eight earlier ones stay too, spread over
            the training, to choose among; fewer where all would take more than 1 GB.
        log_every: steps between lines of metrics.jsonl.
        health_every: steps between health checks, at the most: the first step, the last, and about
            25 between are checked in any training.
        on_collapse: after a sustained collapse alarm, go on or stop with exit code 20.
        freeze_encoder: how long the encoder stands still at first while its heads learn, as a share
            of training below 1 or a number of steps; 0 is not at all.
    """

    steps: Natural = 0
    epochs: Natural = 0
    minutes: NotNegative = 0.0
    accumulate: Count = 1
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    checkpoint_every: Natural = 0
    keep: Count = 2
    log_every: Count = 10
    health_every: Count = 100
    on_collapse: Literal["warn", "stop"] = "warn"
    freeze_encoder: NotNegative = 0.0
