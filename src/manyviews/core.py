"""The nouns every room shares: Batch in, Step out, Clock for time, Encoder and Method in between.

This file imports nothing of ours, so any room may import it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """One micro-batch on one device. There is no label field: a method cannot read one.

    Attributes:
        views: name -> [B, V, C, H, W] float, normalised; V same-shaped views of each sample
            ("global", "local").
        index: [B] int64, position of each sample in the data set.
        cues: what the view pipeline knows of how it made the views: "mask" [B, V, N] bool
            (True = hidden).
    """

    views: Mapping[str, Tensor]
    index: Tensor
    cues: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


@dataclass(frozen=True)
class Step:
    """What one forward pass produced.

    Attributes:
        losses: name -> weighted scalar; the trainer back-propagates their sum.
        embedding: [B, V, D] encoder outputs of the first V global views, detached (V >= 1);
            what probes and monitors look at.
        projection: [B, V, P] the loss's own inputs, detached, or None where a method has none.
        fresh: detached tensors that `after_backward` will store (keys, teacher logits).
        watch: name -> detached scalar, what this method alone can say of its health, under a
            name that `diagnosis.alarms` knows (for instance "target_entropy", the mean entropy
            of teacher assignments over ln K).
    """

    losses: Mapping[str, Tensor]
    embedding: Tensor
    projection: Tensor | None = None
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


class Encoder(nn.Module):
    """Any backbone: pixels in, Features out.

    Call: `encoder(x, keep=None, hide=None, blocks=0, tokens=True)`, x [B, C, H, W].
    keep [B, K] int64: encode only these tokens (MAE). hide: replace these tokens by a token that
    the method owns (iBOT, BEiT). blocks: also return the tokens of the last `blocks` blocks.
    tokens=False: nobody reads `Features.tokens`, and an encoder may leave them out.
    An encoder that cannot do what is asked raises `Unsupported`.

    Attributes:
        dim: D, width of `pooled`, and of `tokens` as `Features` says.
        num_tokens: N for an image of the configured size.
    """

    dim: int
    num_tokens: int

    if TYPE_CHECKING:

        def __call__(
            self,
            x: Tensor,
            *,
            keep: Tensor | None = None,
            hide: Hide | None = None,
            blocks: int = 0,
            tokens: bool = True,
        ) -> Features:
            """Encode a batch of images."""
            ...


class Failure(Exception):
    """An error whose one-line message tells a user what to do; the command line prints only it."""

    exit_code = 1


class UsageError(Failure):
    """The command, the configuration or the data cannot be used as given."""

    exit_code = 2


class Unsupported(UsageError):
    """An encoder was asked for something that its architecture cannot do."""


@dataclass(frozen=True)
class Group:
    """Parameters that share an optimiser rule.

    Attributes:
        params: the parameters.
        lr_scale: factor on the learning rate.
        fixed_lr: keep the base learning rate, no decay (SimSiam's predictor).
        decay: weight decay applies to those of `params` that have two or more dimensions.
        frozen_until: share of training in [0, 1] during which no update is made.
    """

    params: list[nn.Parameter]
    lr_scale: float = 1.0
    fixed_lr: bool = False
    decay: bool = True
    frozen_until: float = 0.0


EmbedAll = Callable[[], Iterator[tuple[Tensor, Tensor]]]
"""One pass over the data set without gradient: yields (index [B], embedding [B, D])."""


class Method(nn.Module):
    """A self-supervised method: a loss on unlabelled views, plus the state that the loss needs.

    `forward` reads state and never writes it; the hooks write it. All state that affects the next
    loss is a parameter or a persistent buffer, so a checkpoint continues exactly.

    Attributes:
        needs: view or cue name -> least count, checked against the view plan before training.
        encoder: what the user keeps.
    """

    needs: Mapping[str, int] = {"global": 2}

    if TYPE_CHECKING:

        def __call__(self, batch: Batch, clock: Clock) -> Step:
            """Run `forward`."""
            ...

    @property
    def encoder(self) -> Encoder:
        """The trained encoder that evaluation uses and the user keeps."""
        raise NotImplementedError

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The loss on one micro-batch. Reads state, never writes it."""
        raise NotImplementedError

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Once per epoch: re-cluster, mine positives. Most methods need nothing."""

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Once per micro-batch: fill queues and centres from `step.fresh`."""

    def after_step(self, clock: Clock) -> None:
        """Once per optimiser step, after it: EMA targets, prototypes."""

    def param_groups(self) -> list[Group]:
        """All trainable parameters, grouped by optimiser rule."""
        return [Group([p for p in self.parameters() if p.requires_grad])]


def flat(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply f to [B, V, ...] as one batch of B*V; batch norm then mixes the views."""
    return f(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def wide(x: Tensor) -> Tensor:
    """float32, or float64 where x has it already: what losses are computed in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
