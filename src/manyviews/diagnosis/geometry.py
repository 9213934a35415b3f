"""The geometric shortcut of clouds: features of points that follow height, learnt at once."""

from collections.abc import Sequence
from dataclasses import dataclass

FOLLOWS, MORE = 0.5, 1.5
"""Share of the features' variance that is height's, and over the untrained encoder's, from which
it is called a shortcut; our own numbers."""
FALL, EARLY = 0.9, 0.1
"""Of all that a loss falls, in what share of the training, is at once; our own numbers."""


def fell_by(losses: Sequence[float], *, share: float = FALL) -> float:
    """In what share of a training its loss fell by `share` of all that it ever fell, in (0, 1].

    1 where it did not fall.

    Args:
        losses: in their order, evenly spread over the training.
        share: see above.
    """
    least = min(losses, default=0.0)
    if len(losses) < 2 or not losses[0] > least:
        return 1.0
    wanted = losses[0] - share * (losses[0] - least)
    return (next(i for i, loss in enumerate(losses) if loss <= wanted) + 1) / len(losses)


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What is known of a training on clouds.

    Attributes:
        height: `losses.points.height_share` of the encoder's points.
        untrained: the same of the untrained encoder.
        early: `fell_by` of its losses; 1 where they are unknown.
    """

    height: float
    untrained: float
    early: float

    @property
    def alarm(self) -> str:
        """What is wrong, in words; "" where nothing is."""
        if self.height < max(FOLLOWS, MORE * self.untrained):
            return ""
        fell = (
            f" and {FALL:.0%} of the loss's fall was in the first {self.early:.0%} of the training"
            if self.early <= EARLY
            else ""
        )
        return (
            f"geometric shortcut: {self.height:.0%} of what features of points tell is their "
            f"height in the cloud ({self.untrained:.0%} before training){fell}. Likely cause: "
            "views keep the ground where it is, so height alone finds a point again. Try: turns "
            "about any axis (--views.global.turn any), other scales and smaller cuboids in --views."
        )
