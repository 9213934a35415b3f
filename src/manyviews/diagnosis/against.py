"""Whether an encoder is better than another one that it came from, in plain sentences."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.alarms import Light
from manyviews.diagnosis.lidar import lidar
from manyviews.diagnosis.neighbours import view_consistency
from manyviews.diagnosis.verdict import verdict

Standing = Literal["better", "no better", "worse", "open"]

_TITLES = {"view_consistency": "view consistency", "lidar": "LiDAR"}
"""What decides where there are no labels; more is better."""
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
    """

    what: str
    standing: Standing
    light: Light
    sentence: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    labelled: ByLabels | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        return asdict(self)


def measures(plain: Tensor, views: Tensor | None) -> dict[str, float]:
    """What is compared without labels, by the names of `explain.MEASURES`.

    A measure that these features cannot have (they collapsed, say) is left out.

    Args:
        plain: [N, D], of one fixed view of each image.
        views: [N, V, D], of random views; None where there are none of the encoder's own size.
    """
    found: dict[str, float] = {}
    try:
        judged = verdict(plain)
        found |= {"rankme": judged.numbers["rankme"], "effective_rank": judged.directions}
        found |= {"collapsed": float(judged.light == "bad")}
        if views is not None:
            found["view_consistency"] = view_consistency(views[:, 0], views[:, 1])
            found["lidar"] = lidar(views)
    except UsageError:
        pass
    return {name: value for name, value in found.items() if math.isfinite(value)}


def judge(
    before: Mapping[str, float],
    after: Mapping[str, float],
    *,
    what: str,
    than: str,
    labelled: ByLabels | None = None,
) -> Against:
    """Say whether training was worth it.

    Labels decide where there are some: the interval of the difference lies above 0, below it, or
    over it. Without any, training was for the worse where the features collapsed, or where both
    view consistency and LiDAR fell, and for the better where one rose and none fell. Both are
    measured with the views of the training, which it learns to ignore, so a rise means less than a
    fall. RankMe and effective rank are shown and decide nothing: adapting to a narrower data set
    may well need fewer directions.

    Args:
        before: of `measures`.
        after: likewise.
        what: the other encoder, for instance "the frozen start".
        than: how the sentence calls it: "where you began".
        labelled: what labels say.
    """
    if after.get("collapsed", 1.0) > before.get("collapsed", 0.0):
        standing: Standing = "worse"
        said = f"The features collapsed; those of {what} had not."
    elif labelled is not None:
        standing = "better" if labelled.low > 0 else "worse" if labelled.high < 0 else "no better"
        doubt = ", so the test images cannot tell them apart" if standing == "no better" else ""
        said = (
            f"{labelled.protocol} is {labelled.after:.3f}, and {labelled.before:.3f} for {what} "
            f"({labelled.difference:+.3f}, 95 % interval {labelled.low:+.3f} to "
            f"{labelled.high:+.3f}){doubt}."
        )
    else:
        standing, said = _without_labels(before, after, what)
    words: dict[Standing, tuple[str, Light]] = {
        "better": (f"Better than {than}", "ok"),
        "no better": (f"No better than {than}", "warn"),
        "worse": (f"Worse than {than}", "bad"),
        "open": (f"Better or worse than {than}? Open", "warn"),
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
    )


def _without_labels(
    before: Mapping[str, float], after: Mapping[str, float], what: str
) -> tuple[Standing, str]:
    both = [name for name in _TITLES if name in before and name in after]
    changes = [(after[name] - before[name]) / max(abs(before[name]), 1e-12) for name in both]
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
