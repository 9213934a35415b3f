"""The labelled probe that may run beside training, and protocols that want more than features."""

from dataclasses import dataclass

from manyviews.core.ranges import NotNegative

TOKEN_PROTOCOLS = {
    "attentive": "A learned query attends to frozen tokens; AdamW, as CAPI and V-JEPA probe.",
}
"""Protocols that need an encoder's tokens, by name, each with a line about it."""

PAIR_PROTOCOLS = {
    "across": "Does a clip find its own sound, and a sound its clip, by what the loss compares?",
}
"""Protocols of a run with two encoders, which read no labels, each with a line about it."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Labelled data to evaluate on while training goes on. It never touches the training path.

    Attributes:
        source: LABELLED (a folder of class folders, a CSV of path,label, `fashion-mnist:DIR` or
            `builtin:fashion`); empty for none.
        every: epochs between evaluations; with a wall-clock budget, minutes. 0 for the end only.
        linear: fit the linear probe too, not only kNN.
    """

    source: str = ""
    every: NotNegative = 1.0
    linear: bool = False
