"""A self-supervised method, and what it may ask of the training around it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from manyviews.core.batch import Batch, Clock, Step
from manyviews.core.encoder import Encoder
from manyviews.core.errors import UsageError


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


class EmbedAll(Protocol):
    """One pass over the data set without gradient, through the loader, each rank its share.

    Files are read by worker processes, with time limits and quarantine as in training.
    """

    def __call__(
        self, f: Callable[[Mapping[str, Tensor]], Tensor], *, share: bool = False
    ) -> Tensor:
        """What f makes of every sample; called on all ranks.

        Args:
            f: the plain views of a batch, encoder name -> [B, ...] on the device, to [B, D]. Ranks
                call it differently often, so that it must not ask them.
            share: keep the rows apart, for a D so large that no rank should hold all of them.

        Returns:
            [samples, D] float32 in the order of the data, the same on every rank; with `share`
            those rows of it that `comm.share` gives this rank. Rows of samples that cannot be
            read are NaN.

        Raises:
            Failure: on all ranks: too many samples cannot be read on one of them, or none on any.
        """
        ...


@dataclass(frozen=True)
class Given:
    """All that a method gets from outside.

    Attributes:
        encoders: name -> what is trained.
        samples: in the data set; what a memory bank has rows for.
        teachers: name -> a frozen model that targets come from.
        build: settings of any method, and what it is given -> that method, for those that mix
            others. `methods.catalog.build` fills it.
    """

    encoders: Mapping[str, Encoder]
    samples: int = 0
    teachers: Mapping[str, nn.Module] = field(default_factory=dict[str, nn.Module])
    build: "Callable[[Any, Given], Method] | None" = None

    @property
    def encoder(self) -> Encoder:
        """The only encoder.

        Raises:
            UsageError: there are several.
        """
        return only(self.encoders)

    def made(self, config: object) -> "Method":
        """Another method from the same, of its settings.

        Raises:
            UsageError: these settings configure no method, or nobody said how to build one.
        """
        if self.build is None:
            raise UsageError(
                f"Nobody said how to build a method of {type(config).__name__}. Build with "
                "methods.catalog.build, or give Given(build=...)."
            )
        return self.build(config, self)


def only(encoders: Mapping[str, Encoder]) -> Encoder:
    """The encoder where there is one.

    Raises:
        UsageError: there are several, or none.
    """
    if len(encoders) != 1:
        raise UsageError(
            f"One encoder was wanted and there are {len(encoders)}: {', '.join(encoders)}. "
            f"Name the one that is meant: --which {next(iter(encoders), 'NAME')}."
        )
    return next(iter(encoders.values()))


class Method(nn.Module):
    """A self-supervised method: a loss on unlabelled views, plus the state that the loss needs.

    `forward` reads state and never writes it; the hooks write it. All state that affects the next
    loss is a parameter or a persistent buffer, so a checkpoint continues exactly.

    Attributes:
        needs: family of views, or "family.cue" -> least count, checked before training.
        most: family -> how many of its views are read, where that is not all of them; a training
            that would make more for nothing is refused.
        of_one: families of which all views have to be of one sample, as those whose order or place
            is learnt; the others' may be of several samples of a group.
        trains: names of the encoders, where it tells several apart; () for one of any name.
        tokens: whether it needs encoders whose tokens can be kept and hidden.
        asks: names of the teachers that it cannot do without.
        encoders: name -> what the user keeps. Not registered here: the parts that train them are.
    """

    needs: Mapping[str, int] = {"global": 2}
    most: Mapping[str, int] = {}
    of_one: tuple[str, ...] = ()
    trains: tuple[str, ...] = ()
    tokens: bool = False
    asks: tuple[str, ...] = ()

    def __init__(self, given: Given) -> None:
        """Keep the encoders.

        Raises:
            UsageError: there are others than it trains, or a teacher is missing.
        """
        super().__init__()
        self._kept = dict(given.encoders)
        name = type(self).__name__
        if self.trains and set(given.encoders) != set(self.trains):
            raise UsageError(
                f"{name} trains the encoders {' and '.join(self.trains)}; it was given "
                f"{', '.join(given.encoders) or 'none'}."
            )
        for teacher in self.asks:
            if teacher not in given.teachers:
                raise UsageError(
                    f"{name} learns from a teacher. Give one: --teachers.{teacher} "
                    "timm:NAME | FILE | RUN."
                )

    if TYPE_CHECKING:

        def __call__(self, batch: Batch, clock: Clock) -> Step:
            """Run `forward`."""
            ...

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """The trained encoders that evaluation uses and the user keeps, by name."""
        return self._kept

    @property
    def encoder(self) -> Encoder:
        """The trained encoder, where there is one.

        Raises:
            UsageError: there are several.
        """
        return only(self.encoders)

    def embedded(self, pooled: Tensor) -> dict[str, Tensor]:
        """`Step.embedding` of a method with one encoder, from what that made, [B, V, D]."""
        return dict.fromkeys(self.encoders, pooled.detach())

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
