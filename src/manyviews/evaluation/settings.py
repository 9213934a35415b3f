"""The labelled probe that may run beside training. It never touches the training path."""

from dataclasses import dataclass

from manyviews.core.ranges import NotNegative


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Labelled data to evaluate on while training goes on.

    Attributes:
        source: LABELLED (a folder of class folders, a CSV of path,label, `fashion-mnist:DIR` or
            `builtin:fashion`); empty for none.
        every: epochs between evaluations; with a wall-clock budget, minutes. 0 for the end only.
        linear: fit the linear probe too, not only kNN.
    """

    source: str = ""
    every: NotNegative = 1.0
    linear: bool = False
