"""Whether features have collapsed, in plain sentences."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from manyviews.core import UsageError
from manyviews.core.nouns import SAMPLE, Noun
from manyviews.diagnosis.alarms import UNIFORM, Light
from manyviews.diagnosis.rank import entropy_rank, rankme
from manyviews.diagnosis.spectrum import check_features, collapse_level, singular_values
from manyviews.diagnosis.uniformity import feature_std, mean_cosine, uniformity

_ONE = 0.1
_CONSTANT = 0.9999


@dataclass(frozen=True, kw_only=True)
class FeatureState:
    """What features look like.

    Attributes:
        title: in two words.
        light: ok, warn (part of the space is used) or bad (collapsed).
        sentence: for people.
        directions: effective rank of the centred features, 0 to `width`.
        width: D.
        rows: N.
        numbers: name -> value of every figure computed.
    """

    title: str
    light: Light
    sentence: str
    directions: float
    width: int
    rows: int
    numbers: dict[str, float]


def state_of(
    features: Tensor,
    *,
    target_entropy: float = math.nan,
    usage_entropy: float = math.nan,
    noun: Noun = SAMPLE,
) -> FeatureState:
    """Judge the features of some samples.

    Complete collapse: different samples have a mean cosine above 0.9999, or fewer than 1.5
    directions vary. Uniform collapse: the method's targets have more than 0.998 of the largest
    entropy. One-prototype collapse: the mean target has less than 0.1 of it. Dimensional
    collapse: fewer than 2 % of the directions that could be used (warn below 5 %) vary. The
    thresholds are our own, those of `alarms`. Says nothing about what the directions are good for.

    Args:
        features: [N, D], of different samples; N >= 10 D for figures that do not depend on N, but
            a few hundred rows already show a collapse.
        target_entropy: of `prototypes.Usage` or of the method's own watch, where it has prototypes.
        usage_entropy: likewise.
        noun: what samples are called in the sentence.

    Raises:
        UsageError: fewer than 2 rows, or NaN or infinite features.
    """
    check_features(features)
    rows, width = features.shape
    if rows < 2:
        raise UsageError(f"A state compares {noun.many} with one another; wanted 2 or more, got 1.")
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
    said = {"target_entropy": target_entropy, "usage_entropy": usage_entropy}
    numbers |= {name: value for name, value in said.items() if math.isfinite(value)}
    title, light, sentence = _judge(directions, most=min(rows - 1, width), numbers=numbers)
    return FeatureState(
        title=title,
        light=light,
        sentence=noun.fill(sentence).format(
            used=f"{directions:,.0f} of {width:,} directions are used", **numbers
        ),
        directions=directions,
        width=width,
        rows=rows,
        numbers=numbers,
    )


def _judge(directions: float, *, most: int, numbers: dict[str, float]) -> tuple[str, Light, str]:
    """The title, the light and a template of the sentence."""
    if directions == 0 or numbers["cosine"] > _CONSTANT:
        return (
            "complete collapse",
            "bad",
            "Complete collapse: different {samples} get the same features (their mean cosine is "
            "{cosine:.5f}). These features cannot tell {samples} apart.",
        )
    if numbers.get("target_entropy", 0.0) > UNIFORM:
        return (
            "uniform collapse",
            "bad",
            "Uniform collapse: every {sample} gets nearly the same share of every prototype "
            "(target entropy {target_entropy:.3f} of ln K), so targets say nothing of {samples}.",
        )
    if numbers.get("usage_entropy", 1.0) < _ONE:
        return (
            "one-prototype collapse",
            "bad",
            "One-prototype collapse: nearly all {samples} get the same prototype (usage entropy "
            "{usage_entropy:.3f} of ln K), so targets say nothing of {samples}.",
        )
    if most >= 2 and (directions < 1.5 or directions < 0.02 * most):
        return (
            "dimensional collapse",
            "bad",
            "Dimensional collapse: {used}; {samples} differ along those alone.",
        )
    if directions < 0.05 * most:
        return (
            "narrow",
            "warn",
            "Narrow: {used}. That may be all this data needs, or a partial dimensional collapse.",
        )
    return "not collapsed", "ok", "Not collapsed: {used}, and different {samples} differ."


def collapsed(numbers: Mapping[str, float]) -> bool:
    """Whether numbers of a checkpoint say so: "cosine", "effective_rank", "width", entropies."""
    return (
        numbers.get("cosine", 0.0) > _CONSTANT
        or numbers.get("effective_rank", math.inf) < max(1.5, 0.02 * numbers.get("width", 0.0))
        or numbers.get("target_entropy", 0.0) > UNIFORM
        or numbers.get("usage_entropy", 1.0) < _ONE
    )
