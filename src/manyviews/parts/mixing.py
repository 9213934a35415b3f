"""Several methods in one: their losses weighed, their hooks called, what each stores kept apart."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from manyviews.core import Clock, EmbedAll, Group, Method, Step


class Mixed(nn.ModuleDict):
    """Methods by name, each with a weight.

    Attributes:
        weights: by name.
    """

    def __init__(self, methods: Mapping[str, Method], weights: Sequence[float]) -> None:
        super().__init__(methods)
        self.weights = dict(zip(methods, weights, strict=True))

    @property
    def each(self) -> dict[str, Method]:
        """The methods by name."""
        return dict(self.items())  # pyright: ignore[reportReturnType]

    def joined(self, steps: Mapping[str, Step]) -> Step:
        """The first method's step, with the losses of all and what they store, named after each.

        Args:
            steps: what each made, by name.
        """
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
