"""`manyviews diagnose`: what can be said of anybody's features without labels."""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from manyviews.core.errors import Failure, UsageError
from manyviews.data.settings import MAX_PIXELS
from manyviews.verbs.parse import Positional

if TYPE_CHECKING:
    from manyviews.diagnosis.result import Diagnosed

log = logging.getLogger("manyviews")


def diagnose(
    run: Positional[str | Path],
    *,
    data: str = "",
    labels: str = "",
    encoder: str = "",
    image_size: int = 0,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    sample: int = 1000,
    views: int = 10,
    clusters: int = 20,
    max_pixels: int = MAX_PIXELS,
) -> "Diagnosed":
    """Measure features without labels: rank, dimension, entropy, invariance, grouping.

    Of a run both the encoder's output and the projector's (the loss's own input) are measured, and
    all its checkpoints are compared. The outcome is also written to RUN/diagnosis.json. Where that
    cannot be done, a warning and `unsaved` of the outcome say why.

    Args:
        run: a run directory, an encoder.safetensors, timm:NAME, or with --encoder the checkpoint
            of another project.
        data: unlabelled images; a run's own if not given. Also where these were moved to.
        labels: labelled data to hold the clusters against (NMI, purity); its training part is then
            looked at. Nothing else looks at a label.
        encoder: timm's name of the architecture of a checkpoint.
        image_size: side in pixels for timm models and checkpoints; 0 takes their own.
        mean: per channel, of pixels in [0, 1], to normalise with; what is known of the weights if
            not given.
        std: likewise.
        sample: images looked at, evenly spread; LiDAR and dimensions want 1,000 or more.
        views: random views of each image.
        clusters: of k-means; about as many as there may be classes.
        max_pixels: larger images are refused from their header.
    """
    import numpy as np

    from manyviews.core.files import write_json
    from manyviews.core.progress import bar
    from manyviews.diagnosis.prototypes import prototype_usage
    from manyviews.diagnosis.result import Diagnosed
    from manyviews.diagnosis.verdict import trend, verdict
    from manyviews.runs.against import sentences
    from manyviews.runs.diagnose import (
        assembly_of,
        bars_of,
        best_of,
        check_numbers,
        checkpoints_of,
        groups_of,
        logged,
        measure,
        source_of,
    )
    from manyviews.runs.folder.read import is_run
    from manyviews.runs.look import look_at_encoder, look_at_method, see
    from manyviews.runs.subject import open_subject

    check_numbers(sample=sample, views=views, clusters=clusters)
    directory = Path(run)
    assembly = assembly_of(directory, data) if is_run(directory) else None
    if assembly is None:
        look = look_at_encoder(
            open_subject(run, encoder=encoder, image_size=image_size, mean=mean, std=std)
        )
    elif encoder or image_size or mean or std:
        raise UsageError(
            f"--encoder, --image-size, --mean and --std are for checkpoints; {run} is a run."
        )
    else:
        look = look_at_method(assembly)
    source, given = source_of(data, labels, assembly, look, max_pixels=max_pixels)
    index = np.linspace(0, len(source) - 1, min(sample, len(source))).astype(np.int64)
    index = np.unique(index)
    with bar("looking") as tell:
        sight = see(look, source, index, views=views, tell=tell)
    clusters = min(clusters, max(2, len(sight.rows) // 5))
    spaces = {
        space: measure(plain, sight.views[space], clusters=clusters)
        for space, plain in sight.plain.items()
    }
    shares = sight.assignment
    usage = prototype_usage(shares) if shares is not None and shares.shape[1] > 1 else None
    said = {"target_entropy": math.nan, "usage_entropy": math.nan}
    if usage is not None:
        said = {"target_entropy": usage.target_entropy, "usage_entropy": usage.usage_entropy}
    first = next(iter(sight.plain))
    state = verdict(sight.plain[first], **said)
    history = checkpoints_of(assembly, directory, look, source, sight) if assembly else []
    course = history if len(history) >= 4 else logged(directory)
    found = Diagnosed(
        run=str(run),
        data=labels or data or (assembly.run.data.source if assembly else ""),
        images=len(sight.rows),
        verdict=state,
        trend=trend(course) if course else None,
        best=best_of(history),
        checkpoints={step: dict(numbers) for step, numbers in history},
        spaces=spaces,
        invariance=bars_of(sight),
        prototypes=usage,
        against=sentences(directory),
        groups=groups_of(sight.plain[first], given, sight.rows, clusters=clusters),
    )
    if directory.is_dir():
        try:
            write_json(directory / "diagnosis.json", found.to_json())
        except Failure as failure:
            found = replace(found, unsaved=f"{failure} The diagnosis is not kept.")
            log.warning("%s", found.unsaved)
    return found
