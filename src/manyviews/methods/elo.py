"""ELo. Piergiovanni, Angelova and Ryoo 2020, Evolving Losses, arXiv:2002.12177."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Given, Group, Method, Step, UsageError
from manyviews.core.settings import parts
from manyviews.losses.regression import mean_distance
from manyviews.parts.mixing import Mixed

WHOLE = "global"
"""Family of a method with one encoder that a task's family of its own name stands for."""


class TaskSettings(Protocol):
    """Settings of ELo (`methods.catalog.ELoConfig`)."""

    @property
    def tasks(self) -> Any:
        """Name -> settings of a method, as `core.settings.struct` makes a class of a mapping."""
        ...

    @property
    def on(self) -> tuple[str, ...]:
        """The encoder of each task, or several joined by "+", in the same order."""
        ...

    @property
    def main(self) -> str:
        """The encoder that the others are distilled into."""
        ...

    @property
    def sides(self) -> tuple[str, ...]:
        """Those others."""
        ...

    @property
    def weights(self) -> tuple[float, ...]:
        """Of each task's losses, then of the distillation from each side."""
        ...


class ELo(Method):
    """Tasks on several streams, each a whole method; what side streams see is distilled into one.

    Task t reads the family t in the place of its method's "global", and "t_x" for any other x. One
    view of each encoder, of the same time, is in the family of the encoder's name: there the main
    encoder's features approach those of each side, which get no gradient by it.
    """

    needs: Mapping[str, int] = {"video": 1, "flow": 1}
    trains: tuple[str, ...] = ("video", "flow")

    def __init__(self, given: Given, config: TaskSettings) -> None:
        self.trains = (config.main, *config.sides)
        super().__init__(given)
        named = dict(zip(parts(config.tasks).items(), config.on, strict=True))
        made = {task: _of(given, on.split("+")).made(one) for (task, one), on in named.items()}
        self.mixed = Mixed(made, config.weights[: len(made)])
        self.main, self.sides = config.main, config.sides
        self.distilled = dict(zip(config.sides, config.weights[len(made) :], strict=True))
        dims = {name: given.encoders[name].dim for name in self.trains}
        same = {side: dims[side] == dims[self.main] for side in self.sides}
        self.bridges = nn.ModuleDict(
            {side: nn.Linear(dims[self.main], dims[side]) for side in self.sides if not same[side]}
        )
        alone = dict.fromkeys(self.trains, 1)
        of_tasks = {task: one.needs for task, one in made.items()}
        self.needs = alone | {
            _own(t, k): n for t, needs in of_tasks.items() for k, n in needs.items()
        }
        self.most = alone | {_own(t, k): n for t, one in made.items() for k, n in one.most.items()}
        self.of_one = tuple(_own(t, k) for t, one in made.items() for k in one.of_one)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Every task's losses, and how far the main encoder's features are from each side's."""
        steps = {task: one(_seen(batch, task, one), clock) for task, one in self.mixed.each.items()}
        joined = self.mixed.joined(steps)
        pooled = {
            name: encoder(batch.views[name][:, 0], tokens=False).pooled
            for name, encoder in self.encoders.items()
        }
        losses = dict(joined.losses)
        for side, weight in self.distilled.items():
            near = pooled[self.main]
            near = self.bridges[side](near) if side in self.bridges else near
            losses[f"from_{side}"] = weight * mean_distance(near, pooled[side])
        embedding = {name: x[:, None].detach() for name, x in pooled.items()}
        return replace(joined, losses=losses, embedding=embedding)

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Each task's, which sees the plain views of its own encoders."""
        for one in self.mixed.each.values():
            one.before_epoch(clock, _Part(embed_all, tuple(one.encoders)))

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Each task's, with what it made."""
        self.mixed.after_backward(step, clock)

    def after_step(self, clock: Clock) -> None:
        """Each task's."""
        self.mixed.after_step(clock)

    def param_groups(self) -> list[Group]:
        """Each task's, and what lies between encoders of different widths."""
        between = list(self.bridges.parameters())
        return self.mixed.param_groups() + ([Group(between)] if between else [])


class _Part:
    """One pass over the data, of which f sees some encoders' views alone."""

    def __init__(self, embed_all: EmbedAll, names: tuple[str, ...]) -> None:
        self._embed_all, self._names = embed_all, names

    def __call__(
        self, f: Callable[[Mapping[str, Tensor]], Tensor], *, share: bool = False
    ) -> Tensor:
        def own(plain: Mapping[str, Tensor]) -> Tensor:
            return f({name: plain[name] for name in self._names})

        return self._embed_all(own, share=share)


def _of(given: Given, names: list[str]) -> Given:
    """The same with some of the encoders.

    Raises:
        UsageError: there is no such encoder.
    """
    missing = [name for name in names if name not in given.encoders]
    if missing:
        raise UsageError(
            f"A task is on the encoder {missing[0]!r}; there are {', '.join(given.encoders)}. "
            "Name it in --method.sides, or set --method.on."
        )
    return replace(given, encoders={name: given.encoders[name] for name in names})


def _own(task: str, key: str) -> str:
    """What a task's family, or "family.cue", is called among all of them."""
    family, dot, cue = key.partition(".")
    return (task if family == WHOLE else f"{task}_{family}") + dot + cue


def _seen(batch: Batch, task: str, method: Method) -> Batch:
    """What a task sees of a batch, under the names that its method knows."""
    names = {key: _own(task, key) for key in method.needs}
    views = {key: batch.views[own] for key, own in names.items() if own in batch.views}
    cues = {key: batch.cues[own] for key, own in names.items() if own in batch.cues}
    return Batch(views, batch.index, cues)
