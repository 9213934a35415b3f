"""Whether an encoder is better than another one that it came from, in plain sentences."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.alarms import Light
from manyviews.diagnosis.lidar import lidar
from manyviews.diagnosis.neighbours import shared_neighbours, view_consistency
from manyviews.diagnosis.state import state_of

Standing = Literal["better", "no better", "worse", "open"]

_TITLES = {
    "shared_neighbours": "shared neighbours",
    "view_consistency": "view consistency",
    "lidar": "LiDAR",
    "over_guess": "loss over that of a guess",
}
"""What is compared in words where there are no labels."""
LEAST = 0.005
"""A move of shared neighbours that is below it says nothing; untrained encoders differ by less."""
_LEARNED = (0.4, 0.05)
"""A rise of shared neighbours counts as learning where it is above `LEAST` and that share of the
value before (the first) or at least the second; see docs/experiments/verdict.md."""
_OF_A_START = ("view_consistency", "lidar")
_MARGIN = 0.02
"""Share of the first value that a measure has to change by to count, our own."""


@dataclass(frozen=True)
class ByLabels:
    """What labels say of both, measured elsewhere on the same test images.

    Attributes:
        protocol: for instance "kNN".
        before, after: share of test images that are right.
        difference: after less before; low, high: its 95 % interval, both of the same images.
    """

    protocol: str
    before: float
    after: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Against:
    """One encoder held against another.

    Attributes:
        what: the other one, for instance "the frozen start".
        standing: in two words; "open" where no label says and measures disagree.
        light: warn where training did not help, bad where it did harm.
        sentence: for people.
        before: measure -> value, of the other one.
        after: likewise, of this one.
        labelled: what labels say, where there are some.
        by: the first of the measures that decided without labels.
    """

    what: str
    standing: Standing
    light: Light
    sentence: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    labelled: ByLabels | None = None
    by: str = "shared_neighbours"

    @property
    def number(self) -> str:
        """What it rests on, in one line."""
        if self.labelled is not None:
            return f"{self.labelled.protocol} {self.labelled.after:.3f}, {self.what} " + (
                f"{self.labelled.before:.3f}"
            )
        if self.by in self.before and self.by in self.after:
            values = f"{self.after[self.by]:.3f}, {self.what} {self.before[self.by]:.3f}"
            return f"{_TITLES[self.by]} {values}"
        return "not measured"

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Against":
        """What `to_json` gave. Raises TypeError where it is something else."""
        whole: dict[str, Any] = dict(found)
        if whole.get("labelled") is not None:
            whole["labelled"] = ByLabels(**whole["labelled"])
        return cls(**whole)


def measures(plain: Tensor, views: Tensor | None) -> dict[str, float]:
    """What is compared without labels, by the names of `explain.MEASURES`.

    A measure that these features cannot have (they collapsed, say) is left out.

    Args:
        plain: [N, D], of one fixed view of each image.
        views: [N, V, D], of random views; None where there are none of the encoder's own size.
    """
    found: dict[str, float] = {}
    try:
        judged = state_of(plain)
        found |= {"rankme": judged.numbers["rankme"], "effective_rank": judged.directions}
        found |= {"collapsed": float(judged.light == "bad")}
        if views is not None:
            found["view_consistency"] = view_consistency(views[:, 0], views[:, 1])
            found["shared_neighbours"] = shared_neighbours(views[:, 0], views[:, 1])
            found["lidar"] = lidar(views)
    except UsageError:
        pass
    return {name: value for name, value in found.items() if math.isfinite(value)}


def judge_start(
    before: Mapping[str, float], after: Mapping[str, float], *, labelled: ByLabels | None = None
) -> Against:
    """Say whether training was worth it, against the frozen weights that it began from.

    Labels decide where there are some: the interval of the difference lies above 0, below it, or
    over it. Without any, training was for the worse where the features collapsed, or where both
    view consistency and LiDAR fell, and for the better where one rose and none fell. Both are
    measured with the views of the training, which it learns to ignore, so a rise means less than a
    fall. RankMe and effective rank are shown and decide nothing: adapting to a narrower data set
    may well need fewer directions.

    Args:
        before: of `measures`, of the start.
        after: likewise, now.
        labelled: what labels say.
    """
    what = "the frozen start"
    standing, said = _by_labels(before, after, what, labelled) or _of_both(before, after, what)
    words: dict[Standing, tuple[str, Light]] = {
        "better": ("Better than where you began", "ok"),
        "no better": ("No better than where you began", "warn"),
        "worse": ("Worse than where you began", "bad"),
        "open": ("Better or worse than where you began? Open", "warn"),
    }
    title, light = words[standing]
    advice = " Train with a lower --optim.lr or for fewer steps, or keep that encoder."
    return Against(
        what=what,
        standing=standing,
        light=light,
        sentence=f"{title}: {said}{advice if standing in ('worse', 'no better') else ''}",
        before=before,
        after=after,
        labelled=labelled,
        by=_OF_A_START[0],
    )


def judge_untrained(
    before: Mapping[str, float], after: Mapping[str, float], *, labelled: ByLabels | None = None
) -> Against:
    """Say whether a training taught an encoder anything, against itself before training.

    Labels decide as in `judge_start`. Without any, it learnt where shared neighbours rose clearly.
    View consistency decides nothing: views of noise can be matched too, and of noise nothing is to
    be learnt. Nor does LiDAR, which differs without any training, and falls in some that teach.
    Where one of those moved the other way the words say so. The thresholds are our own, see
    docs/experiments/verdict.md.

    Args:
        before: of `measures`, of the untrained encoder.
        after: likewise, now.
        labelled: what labels say.
    """
    what = "the untrained encoder"
    found = _by_labels(before, after, what, labelled)
    standing, said = found or _learned(before, after, what)
    words: dict[Standing, tuple[str, Light]] = {
        "better": ("Better than before training", "ok"),
        "no better": ("No better than before training", "warn"),
        "worse": ("Worse than before training", "bad"),
        "open": ("Better than before training? Open", "warn"),
    }
    title, light = words[standing]
    if found is None and standing == "better" and _fallen(before, after):
        title = "It learnt, though the measures are mixed"
    return Against(
        what=what,
        standing=standing,
        light=light,
        sentence=f"{title}: {said}",
        before=before,
        after=after,
        labelled=labelled,
    )


def _by_labels(
    before: Mapping[str, float], after: Mapping[str, float], what: str, labelled: ByLabels | None
) -> tuple[Standing, str] | None:
    """A collapse, then labels; None where neither says anything."""
    if after.get("collapsed", 1.0) > before.get("collapsed", 0.0):
        return "worse", f"The features collapsed; those of {what} had not."
    if labelled is None:
        return None
    standing: Standing = (
        "better" if labelled.low > 0 else "worse" if labelled.high < 0 else "no better"
    )
    doubt = ", so these labels cannot tell them apart" if standing == "no better" else ""
    return standing, (
        f"{labelled.protocol} is {labelled.after:.3f}, and {labelled.before:.3f} for {what} "
        f"({labelled.difference:+.3f}, 95 % interval {labelled.low:+.3f} to "
        f"{labelled.high:+.3f}){doubt}."
    )


def _learned(
    before: Mapping[str, float], after: Mapping[str, float], what: str
) -> tuple[Standing, str]:
    """By what can be said without labels."""
    both = [name for name in _TITLES if name in before and name in after]
    if not both:
        return "open", f"nothing could be measured of both it and {what} without labels."
    moved = "; ".join(_moved(name, before[name], after[name]) for name in both)
    name = "shared_neighbours"
    if name not in both:
        return "open", f"{moved}."
    share, most = _LEARNED
    rise = after[name] - before[name]
    margin = max(LEAST, min(share * before[name], most))
    learnt = rise > margin
    if LEAST < rise <= margin:
        return "open", (
            f"{moved}. {_TITLES[name].capitalize()} decide, and a rise of less than {margin:.3f} "
            "may be of what nothing was learnt from. Labels would tell: `manyviews evaluate`."
        )
    others = [other for other in both if other != name and _change(before, after, other) > _MARGIN]
    if learnt and (fallen := _fallen(before, after)):
        down = " and ".join(_TITLES[other] for other in fallen)
        moved += f". {_TITLES[name].capitalize()} decide; {down} can fall in a training that helps"
    elif not learnt and others:
        up = " and ".join(_TITLES[other] for other in others)
        moved += f". {_TITLES[name].capitalize()} decide; {up} can rise where nothing is learnt"
    return "better" if learnt else "no better", f"{moved}."


def _moved(name: str, before: float, after: float) -> str:
    """Which way a measure went, in words that its numbers bear out."""
    went = "rose" if after > before else "fell"
    if f"{before:.3f}" == f"{after:.3f}":
        return f"{_TITLES[name]} stayed at {after:.3f}"
    return f"{_TITLES[name]} {went} from {before:.3f} untrained to {after:.3f}"


def _change(before: Mapping[str, float], after: Mapping[str, float], name: str) -> float:
    """Of a measure, as a share of what it was."""
    return (after[name] - before[name]) / max(abs(before[name]), 1e-12)


def _fallen(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """Measures beside the one that decides, that went down by more than the margin."""
    both = [name for name in _OF_A_START if name in before and name in after]
    return [name for name in both if _change(before, after, name) < -_MARGIN]


def _of_both(
    before: Mapping[str, float], after: Mapping[str, float], what: str
) -> tuple[Standing, str]:
    both = [name for name in _OF_A_START if name in before and name in after]
    changes = [_change(before, after, name) for name in both]
    moved = " and ".join(
        f"{_TITLES[name]} went from {before[name]:.3f} to {after[name]:.3f}" for name in both
    )
    if not both:
        return "open", f"nothing could be measured of both it and {what} without labels."
    labels = "Labels would tell more: --probe.source."
    if all(change < -_MARGIN for change in changes):
        return "worse", f"{moved}. {labels}"
    if any(change > _MARGIN for change in changes) and min(changes) >= -_MARGIN:
        return "better", f"by what can be said without labels, {moved}. {labels}"
    return "open", f"{moved}. {labels}"
