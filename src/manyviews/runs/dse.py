"""DSE of what is looked at: whether the features of places keep things apart."""

import logging
from collections.abc import Sequence

import numpy as np

from manyviews.core import Failure, UsageError
from manyviews.core.sample import Source
from manyviews.diagnosis.dse import dense_structure
from manyviews.evaluation.features import extract
from manyviews.runs.look import Look

log = logging.getLogger("manyviews")

IMAGES = 64
"""Images that are compared, at most: k-means of each takes time."""
LEAST = 16
"""Places of an image, below which there is no structure to speak of."""


def structure_of(look: Look, source: Source, rows: Sequence[int]) -> dict[str, float]:
    """DSE and its parts by the names of `explain.MEASURES`; nothing where it cannot be had."""
    if look.patches is None:
        return {}
    some = np.linspace(0, len(rows) - 1, min(IMAGES, len(rows))).astype(np.int64)
    wanted = [rows[i] for i in np.unique(some)]
    try:
        seen = extract(look.patches, source, look.fixed, rows=wanted, device=look.device)
        if seen.features.ndim < 3 or seen.features.shape[1] < LEAST:
            return {}
        found = dense_structure(seen.features)
    except (Failure, UsageError) as error:
        log.info("dse is left out: %s", error)
        return {}
    return {
        "dse": found.dse,
        "patch_separation": found.patch_separation,
        "patch_dimension": found.patch_dimension,
    }
