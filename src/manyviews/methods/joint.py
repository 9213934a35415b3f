"""Several methods at once on one encoder, their losses weighed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Encoder, Given, Group, Method, Step
from manyviews.core.settings import parts


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
        self.mixed = nn.ModuleDict(made)
        self.weights = dict(zip(made, config.weights, strict=True))
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
        return dict(self.mixed.items())  # pyright: ignore[reportReturnType]

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """The first method's."""
        return next(iter(self.each.values())).encoders

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """All losses, each named after its method, and what each of them will store."""
        steps = {name: method(batch, clock) for name, method in self.each.items()}
        losses = {
            f"{name}.{loss}": self.weights[name] * value
            for name, step in steps.items()
            for loss, value in step.losses.items()
        }
        watch: dict[str, Tensor] = {}
        for step in steps.values():
            watch = {**step.watch, **watch}
        fresh = {f"{n}.{key}": x for n, step in steps.items() for key, x in step.fresh.items()}
        return replace(next(iter(steps.values())), losses=losses, fresh=fresh, watch=watch)

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Each method's."""
        for method in self.each.values():
            method.before_epoch(clock, embed_all)

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Each method's, with what it made."""
        for name, method in self.each.items():
            own = {
                k.removeprefix(f"{name}."): x
                for k, x in step.fresh.items()
                if k.startswith(f"{name}.")
            }
            method.after_backward(replace(step, fresh=own), clock)

    def after_step(self, clock: Clock) -> None:
        """Each method's."""
        for method in self.each.values():
            method.after_step(clock)

    def param_groups(self) -> list[Group]:
        """Each method's; what several train is in the first one's."""
        known, groups = set[int](), list[Group]()
        for method in self.each.values():
            for group in method.param_groups():
                own = [p for p in group.params if id(p) not in known]
                known |= {id(p) for p in own}
                groups.append(replace(group, params=own))
        return [group for group in groups if group.params]
