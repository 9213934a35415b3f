"""What a report shows. Whoever runs a training gathers it; `page.render` lays it out."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import Bytes
from manyviews.reports.maps import MapKind

log = logging.getLogger("manyviews")

T = TypeVar("T")


def attempt(what: str, make: Callable[[], T], otherwise: T) -> T:
    """A part of the report; where it cannot be made, a line that says so, and the rest goes on."""
    try:
        return make()
    except Exception as error:  # of any kind: a training that is over has cost more than a figure
        first = (str(error).splitlines() or [""])[0]
        log.warning("The report is without %s (%s: %s).", what, type(error).__name__, first)
        return otherwise


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A row of pictures with a line below each: one image and what was made of it."""

    pictures: Sequence[Bytes]
    captions: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Images and their features, row for row.

    Attributes:
        features: [N, D] float32.
        images: N pictures [h, w, C] uint8, of any sizes.
        names: N file names.
    """

    features: NDArray[np.float32]
    images: Sequence[Bytes]
    names: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything on the page.

    Attributes:
        title: the run's name.
        light: ok, warn or bad.
        verdict: one sentence on the state of the representation.
        against: a sentence on whether each encoder is better than the one that it began from.
        figures: the few numbers that come first: label -> value.
        facts: what was run: label -> value.
        records: the lines of metrics.jsonl.
        embedded: a sample of the data set, embedded; None where there is none.
        spectrum: singular values, descending, of the centred features.
        views: an image and its training views, a strip each.
        insight: heading -> strips that only some encoders and methods have (attention, colours
            of patch features, reconstructions).
        diagnosis: diagnosis.json; empty where the run has none.
        diagnosed: the step that it looked at, where the run has gone on since; else 0.
        map: how the features become points.
        alarms: a line each.
        quarantine: the lines of quarantine.jsonl.
        command: what to type to do the same again.
        config: config.yaml.
        versions: package -> version.
    """

    title: str
    light: Literal["ok", "warn", "bad"]
    verdict: str
    figures: Mapping[str, str]
    facts: Mapping[str, str]
    records: Sequence[Mapping[str, Any]]
    embedded: Embedded | None
    spectrum: Sequence[float]
    views: Sequence[Strip]
    insight: Mapping[str, Sequence[Strip]] = field(default_factory=dict[str, Sequence[Strip]])
    diagnosis: Mapping[str, Any] = field(default_factory=dict[str, Any])
    diagnosed: int = 0
    against: Sequence[str] = ()
    map: MapKind = "pca"
    alarms: Sequence[str] = ()
    quarantine: Sequence[Mapping[str, Any]] = ()
    command: str = ""
    config: str = ""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
