"""What can go wrong with a representation, how it shows, and what to change."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from manyviews.diagnosis.geometry import FOLLOWS

Light = Literal["ok", "warn", "bad"]
UNIFORM = 0.998
"""Entropy of targets, of ln K, above which they say nothing: SwAV on noise, which is sound, has
0.997, DINO with a teacher temperature of 1 has 0.9995."""


@dataclass(frozen=True)
class Alarm:
    """Something is wrong with a training.

    Attributes:
        name: of the rule.
        cause: what usually is behind it.
        advice: which flags to change.
        message: what was seen, with numbers.
        light: "bad" where training on is pointless.
        step: optimiser steps done.
    """

    name: str
    cause: str
    advice: str
    message: str = ""
    light: Light = "warn"
    step: int = 0

    def __str__(self) -> str:
        return f"{self.message}. Likely cause: {self.cause}. Try: {self.advice}."


class Numbers(dict[str, float]):
    """Name -> value; NaN, for which every comparison is false, where there is none."""

    def __missing__(self, name: str) -> float:
        return math.nan


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When to raise which alarm.

    Attributes:
        name: of the alarm.
        about: the number that has to be there before the rule is asked.
        holds: whether the numbers of one check look wrong.
        message: a format string over the numbers; in it and in the cause `{sample}` and `{samples}`
            are what samples are called.
        cause: of the alarm.
        advice: of the alarm.
        light: of the alarm.
        onset: share of training from which it may fire where the numbers were right before.
        stuck: the same where they have been wrong since the first check, as those of an untrained
            network may well be.
    """

    name: str
    about: str
    holds: Callable[[Numbers], bool]
    message: str
    cause: str
    advice: str
    light: Light = "warn"
    onset: float = 0.05
    stuck: float = 0.05


_COLLAPSED = "a constant solves the loss, or the learning rate has destroyed the network"
_STEADIER = (
    "a lower --optim.lr or longer --optim.warmup; with a momentum target "
    "--method.momentum.start 0.99 for short runs, 0.999 if the loss swings; with a variance term a "
    "higher --method.variance"
)
"""No method is named in advice: its flags say whom it is for."""


def _told_apart(n: Numbers) -> bool:
    """Whether a contrastive loss is so far below chance that samples are found, however near.

    MoCo's mean cosine is 0.98 after 20 healthy steps; PCL's came to 0.998 on noise, where its loss
    was at 0.8 of chance and its features used as many directions as before.
    """
    return n["contrastive_floor"] < 0.9


RULES: tuple[Rule, ...] = (
    Rule(
        name="complete_collapse",
        about="cosine_projection",
        holds=lambda n: n["cosine_projection"] > 0.9975 and not _told_apart(n),
        message=(
            "different {samples} get the same projection: their mean cosine is "
            "{cosine_projection:.4f}"
        ),
        cause=_COLLAPSED,
        advice=_STEADIER,
        light="bad",
        onset=0.0,
    ),
    Rule(
        name="nearly_constant",
        about="cosine_projection",
        holds=lambda n: (
            0.95 < n["cosine_projection"] <= 0.9975
            and n["alignment_projection"] < 0.05
            and not _told_apart(n)
        ),
        message=(
            "projections hardly differ: the mean cosine of different {samples} is "
            "{cosine_projection:.3f}, and the views of one {sample} differ as little"
        ),
        cause="the loss is solved by sending all {samples} to nearly one place",
        advice=(
            _STEADIER + "; an --entropy.weight of 0.1 to 1; with a predictor look whether it is "
            "trained"
        ),
        light="bad",
        stuck=0.2,
    ),
    Rule(
        name="constant_embedding",
        about="cosine_embedding",
        holds=lambda n: n["cosine_embedding"] > 0.9999,
        message=(
            "different {samples} get the same embedding: their mean cosine is "
            "{cosine_embedding:.5f}"
        ),
        cause=_COLLAPSED,
        advice=_STEADIER,
        light="bad",
        onset=0.0,
    ),
    Rule(
        name="uniform_assignments",
        about="target_entropy",
        holds=lambda n: n["target_entropy"] > UNIFORM,
        message="the targets are nearly uniform: their entropy is {target_entropy:.3f} of ln K",
        cause="every prototype is as likely as any other, so the loss stays at ln K",
        advice=(
            "a lower --method.teacher-temperature.end or --method.sharpness, fewer "
            "--method.prototypes for small data, a lower --optim.lr"
        ),
        light="bad",
        stuck=0.2,
        onset=0.2,  # SwAV passes through such targets on its way up from a random start
    ),
    Rule(
        name="one_prototype",
        about="usage_entropy",
        holds=lambda n: n["usage_entropy"] < 0.1,
        message="nearly all targets are one prototype: usage entropy {usage_entropy:.3f} of ln K",
        cause="one prototype wins for every {sample}",
        advice=(
            "a higher --method.teacher-temperature.end or a lower --method.center-momentum, a "
            "longer --method.frozen-until, a lower --optim.lr"
        ),
        light="bad",
        stuck=0.1,
    ),
    Rule(
        name="same_assignment",
        about="usage_entropy",
        holds=lambda n: (
            n["usage_entropy"] - n["target_entropy"] < 0.005
            and n["usage_entropy"] >= 0.1
            and n["target_entropy"] <= 0.98
        ),
        message=(
            "all {samples} get the same targets: usage entropy {usage_entropy:.3f} and target "
            "entropy {target_entropy:.3f} are equal, so assignments carry no information"
        ),
        cause="the targets do not depend on the {sample}",
        advice=("a lower --method.center-momentum, a lower --optim.lr, fewer --method.prototypes"),
        light="bad",
        stuck=0.2,
    ),
    Rule(
        name="few_prototypes",
        about="usage_entropy",
        holds=lambda n: 0.1 <= n["usage_entropy"] < 0.2,
        message="few prototypes are used: usage entropy is {usage_entropy:.3f} of ln K",
        cause="more prototypes than the data fills, or assignments that are not balanced",
        advice=(
            "fewer --method.prototypes, a higher --method.sharpness, or a --method.queue for small "
            "batches"
        ),
        onset=0.5,
        stuck=0.5,
    ),
    Rule(
        name="not_learning",
        about="contrastive_floor",
        holds=lambda n: n["contrastive_floor"] > 0.99,
        message=(
            "the contrastive loss is {contrastive_floor:.3f} of ln(candidates): the other view is "
            "found no better than by chance"
        ),
        cause="embeddings are all alike, views share nothing, or the temperature is too high",
        advice=(
            "another --optim.lr, a --method.temperature of 0.1 to 0.5, a larger smallest crop "
            "(--views.global.scale 0.3 1), a longer --optim.warmup"
        ),
        light="bad",
        stuck=0.2,
    ),
    Rule(
        name="predicts_the_mean",
        about="prediction_std",
        holds=lambda n: n["prediction_std"] < 0.002,  # a sound MAE is at 0.008 after 200 steps
        message=(
            "every {sample} is reconstructed alike: predictions differ by {prediction_std:.4f} "
            "between {samples}"
        ),
        cause="the decoder gives the mean patch and takes nothing from the encoder",
        advice=(
            "a higher --optim.lr or longer training, a lower --views.mask.ratio; check "
            "--data.mean and --data.std against `manyviews doctor`"
        ),
        stuck=0.2,
    ),
    Rule(
        name="answers_alike",
        about="answer_std",
        holds=lambda n: n["answer_std"] < 0.002,  # on noise, of which nothing is learnt, 0.2
        message=(
            "the task is answered alike for every {sample}: probabilities differ by "
            "{answer_std:.4f} of a guess's"
        ),
        cause="the head takes nothing from the encoder, or its units are dead",
        advice="a lower --optim.lr, a longer --optim.warmup",
        stuck=0.2,
    ),
    Rule(
        name="vanishing_variance",
        about="scale",
        holds=lambda n: n["scale"] < 0.01 and not n["cosine_projection"] > 0.9975,
        message="the projection shrank to {scale:.4f} of the spread that it once had",
        cause="the variance is not held up, or weight decay wins over the loss",
        advice="a higher --method.variance, a lower --optim.weight-decay or --optim.lr",
    ),
    Rule(
        name="dimensional_collapse",
        about="rank_embedding",
        holds=lambda n: n["rank_embedding"] < max(1.5, 0.02 * n["width"]),
        message="the embedding uses {rank_embedding:.1f} of {width:.0f} directions",
        cause="a few directions solve the loss, and nothing asks for the others",
        advice=(
            "milder colours or crops (--views.global.jitter, --views.global.scale), a higher "
            "--method.temperature or --method.covariance, a larger --data.batch-size, a lower "
            "--optim.lr"
        ),
        stuck=0.1,
    ),
    Rule(
        name="rank_falls",
        about="rank_embedding",
        holds=lambda n: n["rank_embedding"] < 0.5 * n["rank_peak"],
        message="the embedding's effective rank fell to {rank_embedding:.1f} from {rank_peak:.1f}",
        cause="directions are dying as training goes on",
        advice=(
            "an earlier checkpoint may be better; a lower --optim.lr or --optim.weight-decay, a "
            "higher --method.covariance"
        ),
        onset=0.1,
        stuck=0.1,
    ),
    Rule(
        name="views_lost",
        about="found",
        holds=lambda n: n["found_peak"] >= 0.25 and n["found"] < 0.5 * n["found_peak"],
        message=(
            "{found:.0%} of the {samples} of a batch still find their other view in it; it was "
            "{found_peak:.0%}"
        ),
        cause="steps or disturbances that are too large undo what was learnt",
        advice=(
            "an earlier checkpoint (--step best); a lower --optim.lr, an --optim.clip of 1; look "
            "for steps that were skipped or data that changed"
        ),
        onset=0.1,
        stuck=0.1,
    ),
    Rule(
        name="teacher_stands_still",
        about="target_moved",
        holds=lambda n: n["target_moved"] == 0,
        message="the slow copy that targets come from has not moved since the last check",
        cause="a momentum of 1, or a method that no longer tells it to follow",
        advice="a --method.momentum below 1; look at `after_step` of a method of your own",
        stuck=0.1,
    ),
    Rule(
        name="follows_height",
        about="height",
        holds=lambda n: n["height"] > FOLLOWS,
        message=(
            "geometric shortcut: {height:.0%} of what features of points tell is their place along "
            "one axis of the cloud, most likely their height"
        ),
        cause="views keep the ground where it is, so height alone finds a point again",
        advice=(
            "turns about any axis (--views.global.turn any), other scales and smaller cuboids in "
            "--views"
        ),
        stuck=0.05,
    ),
    Rule(
        name="identical_views",
        about="sameness_embedding",
        holds=lambda n: (
            (n["sameness_embedding"] < 1e-4 or n["sameness_projection"] < 1e-4)
            and n["cosine_embedding"] < 0.9999
            and not n["cosine_projection"] > 0.9975
        ),
        message="the views of one {sample} are the same to the network, though {samples} differ",
        cause="the augmentations change nothing that the network sees",
        advice=(
            "smaller crops (--views.global.scale 0.2 1), --views.global.jitter 0.8, "
            "--views.global.grey 0.2; look at the views in the report"
        ),
        stuck=0.0,
        onset=0.0,
    ),
)
"""Thresholds are our own, after failure reports of DINO, SimSiam, data2vec and VICReg."""
