"""What `diagnose` found."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from manyviews.diagnosis.explain import MEASURES
from manyviews.diagnosis.invariance import Bar
from manyviews.diagnosis.prototypes import Usage
from manyviews.diagnosis.verdict import Trend, Verdict


@dataclass(frozen=True, kw_only=True)
class Diagnosed:
    """What can be said of a representation without labels.

    Attributes:
        run: whose.
        data: which images.
        images: how many of them.
        verdict: on the encoder's output.
        trend: where training is going, of a run that kept several checkpoints.
        best: the step of the checkpoint to keep, likewise.
        checkpoints: step -> measure -> value, of the encoder's output.
        spaces: "encoder", and of a run "projector" -> measure -> value; `explain.MEASURES` says
            what each means.
        invariance: space -> augmentation -> what it changes.
        prototypes: how they are used, where there are any.
        groups: k-means clusters against labels, where those were given.
        against: a sentence on whether each encoder was better at the end of its training than the
            one that it began from.
        version: rises whenever the same features could give another number.
        unsaved: why it is not in RUN/diagnosis.json; "" where it is, or without a run.
    """

    run: str
    data: str
    images: int
    verdict: Verdict
    trend: Trend | None
    best: int | None
    checkpoints: dict[int, dict[str, float]]
    spaces: dict[str, dict[str, float]]
    invariance: dict[str, dict[str, Bar]]
    prototypes: Usage | None
    groups: dict[str, float]
    against: list[str] = field(default_factory=list[str])
    version: int = 2
    unsaved: str = ""

    def lines(self) -> list[str]:
        """For people."""
        said = [self.verdict.sentence]
        if self.trend is not None:
            said.append(self.trend.sentence)
        said += self.against
        if self.best is not None:
            said.append(f"of {len(self.checkpoints)} checkpoints, step {self.best} looks best")
        names = list(next(iter(self.spaces.values())))
        said += ["", _row(f"{self.images} images", self.spaces, "better where")]
        for name in names:
            cells = [_number(numbers.get(name)) for numbers in self.spaces.values()]
            said.append(_row(MEASURES[name].title, cells, MEASURES[name].better))
        if self.invariance:
            note = "0: no change, 1: as far as another image"
            said += ["", _row("one augmentation", self.invariance, note)]
            for name in next(iter(self.invariance.values())):
                bars = [bars[name] for bars in self.invariance.values()]
                picture = "#" * round(20 * min(1.5, bars[0].change))
                said.append(_row(name, [f"{bar.change:.3f}" for bar in bars], picture))
        if self.prototypes is not None:
            used = self.prototypes
            said += [
                "",
                f"prototypes: {used.prototypes}, used as {used.perplexity * used.prototypes:.0f} "
                f"equal ones; an image's own entropy is {used.target_entropy:.2f} of ln K; "
                f"{used.information:.2f} nats of information",
            ]
        if self.groups:
            said += [
                "",
                f"{self.groups['clusters']:.0f} clusters against the labels: NMI "
                f"{self.groups['nmi']:.3f}, purity {self.groups['purity']:.3f}",
            ]
        return said

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        told = asdict(self)
        del told["unsaved"]
        return told


@dataclass(frozen=True, kw_only=True)
class DiagnosedEach:
    """What `diagnose` found of each encoder of a run, by its name."""

    encoders: Mapping[str, Diagnosed]

    @property
    def unsaved(self) -> str:
        """Why not all of it is in the run; "" where it is."""
        return next((found.unsaved for found in self.encoders.values() if found.unsaved), "")

    def lines(self) -> list[str]:
        """For people."""
        said: list[str] = []
        for name, found in self.encoders.items():
            said += [*([""] if said else []), f"the encoder {name}", *found.lines()]
        return said

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text, by encoder."""
        return {name: found.to_json() for name, found in self.encoders.items()}


def _row(title: str, cells: Iterable[str], note: str) -> str:
    return f"{title:<44}" + "".join(f"{cell:>12}" for cell in cells) + f"   {note}".rstrip()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if abs(value) >= 100 else f"{value:.3f}"
