"""`manyviews see`: a page of what an encoder sees in images, and of what it keeps of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from manyviews.core.errors import UsageError
from manyviews.data.settings import MAX_PIXELS
from manyviews.data.there import check_there
from manyviews.diagnosis.settings import Samples
from manyviews.runs.folder.there import check_encoder_there
from manyviews.verbs.parse import Positional, one_of

if TYPE_CHECKING:
    from manyviews.verbs.written import Written


def see(
    run: Positional[str | Path],
    *,
    data: str | Path = "",
    show: Sequence[Literal["samples", "objects"]] = ("samples", "objects"),
    count: int = 12,
    which: str = "",
    step: str | int = "",
    encoder: str = "",
    image_size: int = 0,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    out: str | Path = "",
    samples: Samples = Samples(),
    max_pixels: int = MAX_PIXELS,
) -> "Written":
    """Show what features keep of images, and what objects are found by them; no label is read.

    For samples a small diffusion model learns to draw images from the encoder's features and, of a
    run, another from what the loss sees (RCDM): what all samples of an image share was kept, what
    changes was thrown away. That is a training, of --samples.minutes for each.

    Args:
        run: a run directory, an encoder.safetensors, timm:NAME, or with --encoder the checkpoint
            of another project; of images.
        data: the images; a run's own if not given.
        show: samples (RCDM), objects (boxes by LOST and TokenCut), or both.
        count: images that are shown, evenly spread.
        which: of a run with several encoders, the one that is meant.
        step: of a run's checkpoint (a number, or best); its own encoder if not given.
        encoder: timm's name of the architecture of a checkpoint.
        image_size: side in pixels for timm models and checkpoints; 0 takes their own. Larger ones
            have more places, and finer boxes.
        mean: per channel, of pixels in [0, 1], to normalise with; what is known of the weights if
            not given.
        std: likewise.
        out: the page; RUN/see.html if not given.
        samples: how they are learnt and drawn.
        max_pixels: larger images are refused from their header.
    """
    data = str(data)
    check_encoder_there(run)
    names = [show] if isinstance(show, str) else list(dict.fromkeys(show))
    for name in names:
        one_of("show", name, ["samples", "objects"])
    if not names or count < 1:
        raise UsageError(f"--count is {count} and --show {names}; wanted 1 or more of each.")
    if not out and not Path(run).is_dir():
        raise UsageError(f"{run} is no run, so say where to write: --out see.html.")
    if data:
        check_there(data)
    from manyviews.core.files import atomic
    from manyviews.core.settings import check
    from manyviews.data.sources import open_source
    from manyviews.reports.sight import Panel, panel_page
    from manyviews.runs.at_step import open_at
    from manyviews.runs.diagnose import assembly_of
    from manyviews.runs.folder.paths import Paths
    from manyviews.runs.folder.read import is_run, saved_run
    from manyviews.runs.look import look_at_encoder, look_at_method
    from manyviews.runs.rcdm import samples_seen
    from manyviews.runs.see import objects_seen, shown_of
    from manyviews.training import launch
    from manyviews.verbs.written import Written

    check(samples, "samples.")
    whole = is_run(Path(run))
    if not data and not whole:
        raise UsageError(f"{run} is no run, so say which images: --data DIR.")
    data = data or saved_run(Path(run)).data.source
    subject = open_at(
        run,
        step=str(step),
        which=which,
        encoder=encoder,
        image_size=image_size,
        mean=mean,
        std=std,
    ).to(launch.device())
    source = open_source(data, channels=subject.pixels.channels, max_pixels=max_pixels)
    panels: list[Panel] = []
    if "samples" in names:
        method = whole and not str(step)  # an earlier checkpoint is looked at without its projector
        look = look_at_encoder(subject)
        if method:
            look = look_at_method(assembly_of(Path(run), data), which)
        drawn = samples_seen(look, source, count=count, settings=samples, fed=subject.pixels)
        panels.append(drawn)
    if "objects" in names:
        images, files = shown_of(subject, source, count=count)
        panels.append(objects_seen(subject, images, files))
    path = Path(out) if out else Paths(Path(run)).seen
    with atomic(path) as draft:
        draft.write_text(panel_page(f"What {Path(str(run)).name} sees", panels), encoding="utf-8")
    return Written(path=path)
