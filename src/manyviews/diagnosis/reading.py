"""What to make of one number: a light where one can be given by itself, and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass

from manyviews.diagnosis.alarms import Light
from manyviews.diagnosis.verdict import WORDS

_WIDER = "milder --views.global.jitter and .scale, a larger --data.batch-size, a lower --optim.lr"
_SAME = "different {samples} look the same: a lower --optim.lr, a longer --optim.warmup"
_LONGER = "below the untrained encoder: train longer, look at the views in the report"
BEFORE = ("view_consistency", "shared_neighbours", "lidar")
"""Measures that are held against the untrained encoder's."""
_LIT = ("view_consistency", "shared_neighbours")
"""Those of them in which a fall is a light: LiDAR falls in trainings that help."""


@dataclass(frozen=True)
class Read:
    """A light, None where the number by itself is neither good nor bad, and what to do.

    In what to do `{sample}` and `{samples}` are what samples are called.
    """

    light: Light | None = None
    do: str = ""

    def word(self) -> str:
        """The light's name."""
        return "-" if self.light is None else WORDS[self.light]


def read_number(
    name: str, value: float, *, directions: int, held: Mapping[str, tuple[float, float]]
) -> Read:
    """What a measure of the encoder says by itself.

    Thresholds are those of `state.state_of`. Most measures compare runs and have none.

    Args:
        name: of `explain.MEASURES`.
        value: of it.
        directions: that there can be at most: the lower of the width and the samples less one.
        held: measure -> its value of the untrained encoder and of this one, both of the same views
            of the same samples: how many there are changes the value.
    """
    if name in ("effective_rank", "rankme"):
        least = value < max(1.5, 0.02 * directions)
        light: Light = "bad" if least else "warn" if value < 0.05 * directions else "ok"
        return Read(light, "" if light == "ok" else _WIDER)
    if name == "cosine":
        return Read("bad", _SAME) if value > 0.9999 else Read("ok")
    if name == "std":
        return Read("bad", _SAME) if value < 0.01 else Read("ok")
    if name in _LIT and name in held:
        untrained, now = held[name]
        return Read("warn", _LONGER) if now < untrained else Read("ok")
    return Read()


def of_change(name: str, change: float) -> Read:
    """What to make of how far one augmentation moves features, over the distance of two samples."""
    if change < 0.5:
        return Read("ok")
    return Read(
        "warn",
        f"if {name} means nothing in your {{samples}}, more of it in the views (flags --views.*)",
    )
