"""One plain sentence on the state of a representation, from features alone."""

from dataclasses import dataclass

from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.alarms import Light
from manyviews.diagnosis.rank import entropy_rank, rankme
from manyviews.diagnosis.spectrum import check, collapse_level, singular_values
from manyviews.diagnosis.uniformity import feature_std, mean_cosine, uniformity


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What features look like.

    Attributes:
        state: in two words.
        light: ok, warn (part of the space is used) or bad (collapsed).
        sentence: for people.
        directions: effective rank of the centred features, 0 to `width`.
        width: D.
        rows: N.
        numbers: name -> value of every figure computed.
    """

    state: str
    light: Light
    sentence: str
    directions: float
    width: int
    rows: int
    numbers: dict[str, float]


def verdict(features: Tensor) -> Verdict:
    """Judge the features of a sample of images.

    Complete collapse: different images have a mean cosine above 0.9999, or fewer than 1.5
    directions vary. Dimensional collapse: fewer than 2 % of the directions that could be used
    (warn below 5 %) vary. Says nothing about what the directions are good for.

    Args:
        features: [N, D], of different images; N >= 10 D for figures that do not depend on N, but
            a few hundred rows already show a collapse.

    Raises:
        UsageError: fewer than 2 rows, or NaN or infinite features.
    """
    check(features)
    rows, width = features.shape
    if rows < 2:
        raise UsageError("A verdict compares images with one another; wanted 2 or more, got 1.")
    values = singular_values(features)
    directions = entropy_rank(values)
    numbers = {
        "effective_rank": directions,
        "rankme": rankme(features),
        "collapse_level": collapse_level(values),
        "std": feature_std(features),
        "cosine": mean_cosine(features),
        "uniformity": uniformity(features),
    }
    state, light, sentence = _judge(directions, most=min(rows - 1, width), numbers=numbers)
    return Verdict(
        state=state,
        light=light,
        sentence=sentence.format(used=f"{directions:.0f} of {width} directions are used"),
        directions=directions,
        width=width,
        rows=rows,
        numbers=numbers,
    )


def _judge(directions: float, *, most: int, numbers: dict[str, float]) -> tuple[str, Light, str]:
    if directions == 0 or numbers["cosine"] > 0.9999:
        return (
            "complete collapse",
            "bad",
            f"Complete collapse: different images get the same features (their mean cosine is "
            f"{numbers['cosine']:.5f}). These features cannot tell images apart.",
        )
    if most >= 2 and (directions < 1.5 or directions < 0.02 * most):
        return (
            "dimensional collapse",
            "bad",
            "Dimensional collapse: {used}; images differ along those alone.",
        )
    if directions < 0.05 * most:
        return (
            "narrow",
            "warn",
            "Narrow: {used}. That may be all this data needs, or a partial dimensional collapse.",
        )
    return "healthy", "ok", "Healthy: {used}, and different images get different features."
