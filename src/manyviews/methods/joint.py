"""Several methods at once on one encoder, their losses weighed."""

from collections.abc import Mapping
from typing import Any, Protocol

from manyviews.core import Batch, Clock, EmbedAll, Encoder, Given, Group, Method, Step
from manyviews.core.settings import parts
from manyviews.parts.mixing import Mixed


class Mixture(Protocol):
    """Settings of several methods (`methods.catalog.JointConfig`)."""

    @property
    def mixed(self) -> Any:
        """Name -> settings of a method, as `core.settings.struct` makes a class of a mapping."""
        ...

    @property
    def weights(self) -> tuple[float, ...]:
        """Of each method's losses, in the same order."""
        ...


class Joint(Method):
    """The weighted sum of whole methods, which share the encoders and keep all else apart.

    Each method sees the views that it needs, encodes them by itself and does in every hook what
    it does alone. The first one's encoders are what the user keeps, and its embedding, projection
    and clusters are what monitors see.
    """

    def __init__(self, given: Given, config: Mixture) -> None:
        super().__init__(given)
        made = {name: given.made(one) for name, one in parts(config.mixed).items()}
        self.mixed = Mixed(made, config.weights)
        whole = [(method.needs, method.most) for method in made.values()]
        families = dict.fromkeys(name for needs, _ in whole for name in needs)
        self.needs: Mapping[str, int] = {
            name: max(needs.get(name, 0) for needs, _ in whole) for name in families
        }
        # A family has no limit where one of the methods that read it has none.
        self.most: Mapping[str, int] = {
            name: max(most[name] for needs, most in whole if name in needs)
            for name in families
            if all(name in most for needs, most in whole if name in needs)
        }

    @property
    def each(self) -> dict[str, Method]:
        """The methods by name."""
        return self.mixed.each

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """The first method's."""
        return next(iter(self.each.values())).encoders

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """All losses, each named after its method, and what each of them will store."""
        return self.mixed.joined({name: one(batch, clock) for name, one in self.each.items()})

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Each method's."""
        self.mixed.before_epoch(clock, embed_all)

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Each method's, with what it made."""
        self.mixed.after_backward(step, clock)

    def after_step(self, clock: Clock) -> None:
        """Each method's."""
        self.mixed.after_step(clock)

    def param_groups(self) -> list[Group]:
        """Each method's; what several train is in the first one's."""
        return self.mixed.param_groups()
