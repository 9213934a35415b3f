"""What a number in the settings has to be, said by the type of its field.

`temperature: Positive = 0.1` is a float to everybody, and `core.settings.check` refuses what is not
above 0. On a field that holds schedules the range is that of their values.
"""

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """What a number has to be.

    Attributes:
        wanted: in words, after "wanted".
        low, high: the least and the largest.
        above: `low` itself is too little.
        below: `high` itself is too much.
        off: one number beside the range, for "none" or "as it is".
    """

    wanted: str
    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False
    off: float | None = None

    def holds(self, number: float) -> bool:
        """Whether a number is in it; NaN and infinity are in none."""
        if number == self.off:
            return True
        least = number > self.low if self.above else number >= self.low
        most = number < self.high if self.below else number <= self.high
        return least and most and math.isfinite(number)


POSITIVE = Range("a number above 0", 0, above=True)
SHARE = Range("a share from 0 to 1", 0, 1)

Count = Annotated[int, Range("1 or more", 1)]
Several = Annotated[int, Range("2 or more", 2)]
Natural = Annotated[int, Range("0 or more", 0)]
NotNegative = Annotated[float, Range("0 or more", 0)]
Positive = Annotated[float, POSITIVE]
Share = Annotated[float, SHARE]
Probability = Annotated[float, Range("a probability from 0 to 1", 0, 1)]
Decaying = Annotated[float, Range("at least 0 and below 1", 0, 1, below=True)]
Concentration = Annotated[float, Range("above 0 and up to 100000", 0, 100_000, above=True)]
Seed = Annotated[int, Range("a whole number of 64 bits", -(2**63), 2**63, below=True)]
