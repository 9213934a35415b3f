"""What `diagnose` found."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from manyviews.core.extras import frame
from manyviews.core.in_words import InWords
from manyviews.core.nouns import SAMPLE, Noun
from manyviews.diagnosis.dse import WINDOW, dense_candidates
from manyviews.diagnosis.explain import MEASURES
from manyviews.diagnosis.geometry import Geometry
from manyviews.diagnosis.invariance import Bar
from manyviews.diagnosis.prototypes import Usage
from manyviews.diagnosis.reading import BEFORE, Read, of_change, read_number
from manyviews.diagnosis.state import FeatureState
from manyviews.diagnosis.verdict import Verdict

_UNTOLD = ("unsaved", "whole", "noun")
"""Fields that are not kept."""
ALL = "Every number, with what to make of it: --all"


@dataclass(frozen=True, kw_only=True)
class Diagnosed(InWords):
    """What can be said of a representation without labels.

    Attributes:
        run: whose.
        data: which samples.
        images: how many of them, of whatever kind.
        encoder: which one, in words: trained and at which step, untrained, a frozen start.
        verdict: the three questions, and what to do next.
        state: of the encoder's output.
        best: the step of the checkpoint to keep, of a run that kept several.
        checkpoints: step -> measure -> value, of the encoder's output.
        spaces: "encoder", and of a run "projector" -> measure -> value; `explain.MEASURES` says
            what each means.
        invariance: space -> augmentation -> what it changes.
        prototypes: how they are used, where there are any.
        groups: k-means clusters against labels, where those were given.
        untrained: measure -> value of the encoder before training, where it was held against that.
        trained: the same measures of the encoder now, of the same views of the same samples; those
            in `spaces` are of more of both, and not to be compared with them.
        geometry: of a run on clouds, whether features of points are their height.
        version: rises whenever the same features could give another number.
        unsaved: why it is not in RUN/diagnosis.json; "" where it is, or without a run.
        whole: whether `lines` has every number.
        noun: what samples are called.
    """

    run: str
    data: str
    images: int
    verdict: Verdict
    state: FeatureState
    best: int | None
    checkpoints: dict[int, dict[str, float]]
    spaces: dict[str, dict[str, float]]
    invariance: dict[str, dict[str, Bar]]
    prototypes: Usage | None
    groups: dict[str, float]
    untrained: Mapping[str, float] = field(default_factory=dict[str, float])
    trained: Mapping[str, float] = field(default_factory=dict[str, float])
    geometry: Geometry | None = None
    version: int = 3
    unsaved: str = ""
    whole: bool = False
    noun: Noun = SAMPLE
    encoder: str = "encoder"

    def lines(self) -> list[str]:
        """For people."""
        said = self.verdict.lines()
        told = any("--step best" in step.command for step in self.verdict.next)
        if self.best is not None and not told:
            said += ["", f"of {len(self.checkpoints)} checkpoints, step {self.best} looks best"]
        said += self._of_patches()
        if self.geometry is not None and self.geometry.alarm:
            said += ["", self.geometry.alarm]
        if self.groups:
            said += [
                "",
                f"{self.groups['clusters']:.0f} clusters against the labels: NMI "
                f"{self.groups['nmi']:.3f}, purity {self.groups['purity']:.3f}",
            ]
        return [*said, *self.numbers()] if self.whole else [*said, "", ALL]

    def _of_patches(self) -> list[str]:
        """Where dense features may be best, of a run with checkpoints enough to say so."""
        known = {s: n["dse"] for s, n in self.checkpoints.items() if s > 0 and "dse" in n}
        steps = dense_candidates(known) if len(known) > 2 * WINDOW else []
        if not steps or steps == [max(known)]:
            return []
        at = f"step{'s' * (len(steps) > 1)} {', '.join(map(str, steps))}"
        return [
            f"its features of places may have been best at {at} (DSE; labels decide: "
            f"manyviews evaluate {self.run} --step {steps[0]} --protocol segmentation)"
        ]

    def numbers(self) -> list[str]:
        """Every number, for people."""
        said: list[str] = []
        names = list(next(iter(self.spaces.values())))
        said += ["", _row(f"{self.images} {self.noun.many}", self.spaces, "light   better where")]
        for name in names:
            cells = [_number(numbers.get(name)) for numbers in self.spaces.values()]
            read = self._read(name, next(iter(self.spaces.values())).get(name))
            note = self.noun.fill(read.do) or self._held(name) or MEASURES[name].better
            said.append(_row(MEASURES[name].title, cells, f"{read.word():<8}{note}"))
        if self.invariance:
            note = f"light   0: no change, 1: as far as another {self.noun.one}"
            said += ["", f"what one augmentation changes for the {self.encoder}"]
            said.append(_row("one augmentation", self.invariance, note))
            for name in next(iter(self.invariance.values())):
                bars = [bars[name] for bars in self.invariance.values()]
                picture = "#" * round(20 * min(1.5, bars[0].change))
                read = of_change(name, bars[0].change)
                note = f"{read.word():<8}{picture} {self.noun.fill(read.do)}".rstrip()
                said.append(_row(name, [f"{bar.change:.3f}" for bar in bars], note))
        if self.prototypes is not None:
            used = self.prototypes
            said += [
                "",
                f"prototypes: {used.prototypes}, used as {used.perplexity * used.prototypes:.0f} "
                f"equal ones; the entropy of one {self.noun.one} is {used.target_entropy:.2f} of "
                "ln K; "
                f"{used.information:.2f} nats of information",
            ]
        if self.geometry is not None:
            height, untrained = self.geometry.height, self.geometry.untrained
            told = f"height is {height:.0%} of what features of points tell, {untrained:.0%} before"
            said += ["", f"{told} training"]
        return said

    def _read(self, name: str, value: float | None) -> Read:
        if value is None:
            return Read()
        most = min(self.images - 1, self.state.width)
        before = self.untrained
        held = {n: (before[n], now) for n, now in self.trained.items() if n in before}
        return read_number(name, value, directions=most, held=held)

    def _held(self, name: str) -> str:
        """What stands in the first answer, where that is of the same name and another sample."""
        if name not in BEFORE or name not in self.trained or name not in self.untrained:
            return ""
        now, before = (_number(side[name]) for side in (self.trained, self.untrained))
        return f"of the first answer's samples: {now}, untrained {before}"

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        told = asdict(self) | {"verdict": self.verdict.to_json()}
        return {name: value for name, value in told.items() if name not in _UNTOLD}

    def to_pandas(self) -> Any:
        """A pandas.DataFrame: a row a measure, a column a space, and what the measure says.

        Raises:
            UsageError: pandas is not installed.
        """
        names = list(next(iter(self.spaces.values())))
        rows = [
            {"measure": name}
            | {space: numbers.get(name) for space, numbers in self.spaces.items()}
            | {"title": MEASURES[name].title, "better": MEASURES[name].better}
            for name in names
        ]
        return frame(rows, index="measure")


@dataclass(frozen=True, kw_only=True)
class DiagnosedEach(InWords):
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
