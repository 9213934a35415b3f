"""What a report shows. Whoever runs a training gathers it; `page.render` lays it out."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from manyviews.core.nouns import SAMPLE, Noun
from manyviews.core.sample import Bytes
from manyviews.diagnosis.verdict import Verdict
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


def of(what: str, name: str) -> str:
    """What is of one encoder, of several named ones: "a map of 'audio'"."""
    return f"{what} of '{name}'" if name else what


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A row of pictures with a line below each: one sample and what was made of it.

    Attributes:
        pictures: [h, w, C] each.
        captions: of each.
        name: of the sample's file.
    """

    pictures: Sequence[Bytes]
    captions: Sequence[str]
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Samples and their features, row for row.

    Attributes:
        features: [N, D] float32.
        images: N pictures [h, w, C] uint8, of any sizes.
        names: N file names.
        values: what the map can be coloured by, one of each sample; "" where none is known, and
            empty where there is nothing to colour by.
    """

    features: NDArray[np.float32]
    images: Sequence[Bytes]
    names: Sequence[str]
    values: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the page shows of one encoder.

    Attributes:
        verdict: three questions answered, and what to do next; None where it could not be had.
        embedded: a sample of the data set, embedded; None where there is none.
        spectrum: singular values, descending, of the centred features.
        diagnosis: diagnosis.json; empty where the run has none.
        diagnosed: the step that it looked at, where the run has gone on since; else 0.
    """

    verdict: Verdict | None
    embedded: Embedded | None
    spectrum: Sequence[float]
    diagnosis: Mapping[str, Any] = field(default_factory=dict[str, Any])
    diagnosed: int = 0


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything on the page.

    Attributes:
        title: the run's name.
        encoders: name -> what is shown of it; the one of a run that has one encoder is "".
        figures: the few numbers that come first: label -> value.
        facts: what was run: label -> value.
        records: the lines of metrics.jsonl.
        views: a sample and its training views, a strip each.
        insight: heading -> strips that only some encoders and methods have (attention, colours
            of patch features, reconstructions).
        levels: protocol -> what stands beside it -> accuracy, on the labels of `records`.
        map: how the features become points.
        colour: what `Embedded.values` are of.
        alarms: a line each.
        quarantine: the lines of quarantine.jsonl.
        command: what to type to do the same again.
        config: config.yaml.
        versions: package -> version.
        noun: what samples are called.
    """

    title: str
    encoders: Mapping[str, Seen]
    figures: Mapping[str, str]
    facts: Mapping[str, str]
    records: Sequence[Mapping[str, Any]]
    views: Sequence[Strip]
    insight: Mapping[str, Sequence[Strip]] = field(default_factory=dict[str, Sequence[Strip]])
    levels: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict[str, Mapping[str, float]]
    )
    map: MapKind = "pca"
    colour: str = ""
    alarms: Sequence[str] = ()
    quarantine: Sequence[Mapping[str, Any]] = ()
    command: str = ""
    config: str = ""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    noun: Noun = SAMPLE
