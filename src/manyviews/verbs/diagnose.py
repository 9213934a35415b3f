"""`manyviews diagnose`: what can be said of anybody's features without labels."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from manyviews.core.errors import UsageError
from manyviews.data.settings import MAX_PIXELS
from manyviews.runs.folder.there import check_encoder_there
from manyviews.verbs.parse import Flag, Positional

if TYPE_CHECKING:
    from manyviews.diagnosis.result import Diagnosed, DiagnosedEach


def diagnose(
    run: Positional[str | Path],
    *,
    data: str | Path = "",
    labels: str | Path = "",
    which: str = "",
    encoder: str = "",
    image_size: int = 0,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    sample: int = 1000,
    views: int = 10,
    clusters: int = 20,
    max_pixels: int = MAX_PIXELS,
    all: Flag = False,  # noqa: A002, FBT002, RUF100 - the flag
) -> "Diagnosed | DiagnosedEach":
    """Say without labels whether a training learned anything, and what to do next.

    It opens with three questions: did it learn anything (against the same encoder untrained, and
    what it began from), has it collapsed, was that enough; each with a number and a light. Then
    come one to three commands. The numbers behind them are rank, dimension, entropy, invariance and
    grouping.

    Of a run both the encoder's output and the projector's (the loss's own input) are measured, and
    all its checkpoints are compared. The outcome is also written to RUN/diagnosis.json. Where that
    cannot be done, a warning and `unsaved` of the outcome say why. Of several encoders each is
    looked at by itself, with its stream alone, and has a RUN/diagnosis-NAME.json.

    Args:
        run: a run directory, an encoder.safetensors, timm:NAME, or with --encoder the checkpoint
            of another project.
        data: unlabelled samples, as the encoder is fed; a run's own if not given. Also where these
            were moved to.
        labels: labelled data to hold the clusters against (NMI, purity); its training part is then
            looked at. Nothing else looks at a label.
        which: of a run with several encoders, the one that is meant; all if not given.
        encoder: timm's name of the architecture of a checkpoint.
        image_size: side in pixels for timm models and checkpoints; 0 takes their own.
        mean: per channel, of pixels in [0, 1], to normalise with; what is known of the weights if
            not given.
        std: likewise.
        sample: samples looked at, evenly spread; LiDAR and dimensions want 1,000 or more.
        views: random views of each sample.
        clusters: of k-means; about as many as there may be classes.
        max_pixels: larger images are refused from their header.
        all: print every number, with a light where one can be given, and what to do.
    """
    data, labels = str(data), str(labels)
    check_encoder_there(run)
    from manyviews.diagnosis.result import DiagnosedEach
    from manyviews.runs.diagnose import (
        Asked,
        check_numbers,
        diagnose_run,
        diagnose_subject,
        encoders_of,
    )
    from manyviews.runs.folder.read import is_run
    from manyviews.runs.subject import open_subject

    check_numbers(sample=sample, views=views, clusters=clusters)
    asked = Asked(
        run=str(run),
        data=data,
        labels=labels,
        sample=sample,
        views=views,
        clusters=clusters,
        max_pixels=max_pixels,
    )
    directory = Path(run)
    if not is_run(directory):
        subject = open_subject(
            run, encoder=encoder, image_size=image_size, mean=mean, std=std, which=which
        )
        return replace(diagnose_subject(asked, subject), whole=all)
    if encoder or image_size or mean or std:
        raise UsageError(
            f"--encoder, --image-size, --mean and --std are for checkpoints; {run} is a run."
        )
    names = encoders_of(directory, which)
    found = {name: replace(diagnose_run(asked, name), whole=all) for name in names}
    return next(iter(found.values())) if len(found) == 1 else DiagnosedEach(encoders=found)
