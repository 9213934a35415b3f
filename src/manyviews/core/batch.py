"""What goes into a method and what comes out: Batch in, Step out, Clock for time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One micro-batch on one device. There is no label field: a method cannot read one.

    Attributes:
        views: family -> [B, V, ...] float, normalised; V same-shaped views of each sample
            ("global": [B, 2, C, H, W]). Where a family is cut around another, its view v belongs
            to view v of that one.
        index: [B] int64, position of each sample in the data set.
        cues: "family.cue" -> [B, V, ...], what is known of how the views were made:
            "global.mask" [B, V, N] bool (True = hidden).
    """

    views: Mapping[str, Tensor]
    index: Tensor
    cues: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


@dataclass(frozen=True)
class Step:
    """What one forward pass produced.

    Attributes:
        losses: name -> weighted scalar; the trainer back-propagates their sum.
        embedding: encoder name -> [B, V, D], its outputs for the first V views, detached (V >= 1);
            what probes and monitors look at.
        projection: [B, V, P], the loss's own inputs, with their gradient; None where a method has
            none.
        clusters: [B, V, K] logits of the predictions, with their gradient, where the loss compares
            distributions over clusters.
        fresh: detached tensors that `after_backward` will store (keys, teacher logits).
        watch: name -> detached scalar, what this method alone can say of its health, under a
            name that `diagnosis.alarms` knows (for instance "target_entropy", the mean entropy
            of teacher assignments over ln K).
    """

    losses: Mapping[str, Tensor]
    embedding: Mapping[str, Tensor]
    projection: Tensor | None = None
    clusters: Tensor | None = None
    fresh: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    watch: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    @property
    def total(self) -> Tensor:
        """The scalar to back-propagate."""
        return torch.stack(list(self.losses.values())).sum()


@dataclass(frozen=True)
class Clock:
    """Where training stands: optimiser steps done, of how many; epochs begun, of how many.

    With a wall-clock budget `total` is an estimate that moves; `progress` stays right.
    """

    step: int
    total: int
    epoch: int = 0
    epochs: int = 1

    @property
    def progress(self) -> float:
        """Share of training done, in [0, 1]."""
        return min(1.0, self.step / max(1, self.total))


@dataclass(frozen=True)
class Features:
    """What an encoder returns.

    Attributes:
        pooled: [B, D].
        tokens: [B, N, D] without class token; N = H*W positions for convolutional encoders.
            Narrower than D where `pooled` joins several places side by side: those of
            `resnet_small` with a grid g are D / g^2 wide. N may be 0 where they were not asked for.
        hidden: tokens of the last `blocks` blocks, when they were asked for.
        class_token: [B, D] after the final norm, whatever `pooled` is; None for encoders without
            one (MAE's decoder reads it).
    """

    pooled: Tensor
    tokens: Tensor
    hidden: tuple[Tensor, ...] = ()
    class_token: Tensor | None = None


@dataclass(frozen=True)
class Hide:
    """Tokens to replace, and what to put there.

    The method owns the mask token: one inside the encoder would be dead weight in every exported
    checkpoint and would stall DDP in methods that never use it.

    Attributes:
        where: [B, N] bool.
        token: [D].
    """

    where: Tensor
    token: Tensor


def flat(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply f to [B, V, ...] as one batch of B*V; batch norm then mixes the views."""
    return f(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def wide(x: Tensor) -> Tensor:
    """float32, or float64 where x has it already: what losses are computed in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
