"""A self-supervised method, and what it may ask of the training around it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from manyviews.core.batch import Batch, Clock, Step
from manyviews.core.encoder import Encoder


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
