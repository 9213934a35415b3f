"""`manyviews embed`: the features of every image in a file."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from manyviews.core.errors import UsageError
from manyviews.data.settings import MAX_PIXELS
from manyviews.data.there import check_there
from manyviews.runs.folder.there import check_encoder_there
from manyviews.verbs.parse import Positional, one_of

if TYPE_CHECKING:
    from manyviews.verbs.written import Written


def embed(
    run: Positional[str | Path],
    *,
    data: str | Path,
    out: str | Path,
    level: Literal["image", "patch", "window"] = "image",
    every: float = 0.0,
    which: str = "",
    step: str | int = "",
    clips: int = 1,
    crops: int = 1,
    encoder: str = "",
    image_size: int = 0,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    batch_size: int = 256,
    map: Literal["pca", "umap", "pacmap"] = "pca",  # noqa: A002, RUF100 - the flag
    thumbnails: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> "Written":
    """Write the features of every image, video, sound or cloud, with its name, to .parquet or .npy.

    A .parquet also has each sample's place on a map (x, y) and its absolute path (file).

    Args:
        run: a run directory, an encoder.safetensors, timm:NAME, or with --encoder the checkpoint
            of another project.
        data: a folder or a text file of paths, of images, videos, sounds or clouds as the encoder
            is fed; fashion-mnist:DIR or builtin:fashion.
        out: a .parquet or .npy file.
        level: one vector a sample (image), of video and sound its middle; or one a place in it
            (patch); or a row for every window of a video or a sound, with where it starts and ends
            in seconds (window).
        every: seconds from the start of one window to that of the next; a window's own length if
            not given.
        which: of a run with several encoders, the one that is meant.
        step: of a run's checkpoint (a number, or best: what label-free measures choose); its own
            encoder if not given.
        clips: average features over so many clips, spread evenly over each video or sound.
        crops: and over so many squares of each clip, from one end of its longer side to the other;
            of one the middle is taken.
        encoder: timm's name of the architecture of a checkpoint.
        image_size: side in pixels for timm models and checkpoints; 0 takes their own.
        mean: per channel, of pixels in [0, 1], to normalise with; what is known of the weights if
            not given.
        std: likewise.
        batch_size: samples at a time.
        map: of the columns x and y; umap and pacmap come with manyviews[maps].
        thumbnails: longer side in pixels of the column image; 0 for none.
        max_pixels: larger images are refused from their header.
    """
    data = str(data)
    one_of("map", map, ["pca", "umap", "pacmap"])
    if Path(out).suffix not in (".parquet", ".npy"):
        raise UsageError(f"--out {out} should end in .parquet or .npy.")
    one_of("level", level, ["image", "patch", "window"])
    if clips * crops > 1 and level == "window":
        raise UsageError("--clips and --crops average over a sample. Leave out --level window.")
    if every and level != "window":
        raise UsageError("--every is for windows. Add --level window.")
    if not 0 <= every < math.inf:
        raise UsageError(f"--every is {every:g}; wanted seconds above 0.")
    if thumbnails < 0:
        raise UsageError(f"--thumbnails is {thumbnails}; wanted 0 or more pixels.")
    check_encoder_there(run)
    check_there(data)
    from manyviews.reports.maps import check_installed

    check_installed(map)
    from manyviews.core.inputs import image_channels
    from manyviews.core.progress import bar
    from manyviews.data.sources import open_data
    from manyviews.evaluation import embed as embedding
    from manyviews.evaluation import features
    from manyviews.runs.assemble import readers
    from manyviews.runs.at_step import open_at
    from manyviews.training import launch
    from manyviews.verbs import columns, windows
    from manyviews.verbs.written import Written
    from manyviews.views.by_input import plain_of

    device = launch.device()
    network = open_at(
        run,
        step=str(step),
        which=which,
        encoder=encoder,
        image_size=image_size,
        mean=mean,
        std=std,
    ).to(device)
    pipeline, channels = network.fixed, image_channels(network.input)
    averaged = plain_of(network.input, clips=clips, crops=crops)
    source = open_data(data, pipeline.streams, channels=channels, max_pixels=max_pixels)
    cut = windows.cut(source, pipeline, every=every) if level == "window" else None
    source = cut or source
    with bar("embedding") as progress:
        found = features.extract(
            network.tokens if level == "patch" else network,
            source,
            averaged,
            batch_size=batch_size,
            device=device,
            progress=progress,
            workers=readers(source),
        )
    names = [source.name(i) for i in found.index.tolist()]
    more, index, times = {}, found.index, {}
    if cut:
        index, times = windows.places(cut, found.index)
    if Path(out).suffix == ".parquet":
        more = columns.columns(found, source, pipeline, how=map, thumbnails=thumbnails)
    paths = embedding.write(
        Path(out), names, found.features, index=index, times=times, columns=more
    )
    shape = " x ".join(str(n) for n in found.features.shape)
    notes = [f"{shape} float32"] + [f"beside it: {p}" for p in paths[1:]]
    if clips * crops > 1:
        notes.append(f"averaged over {clips} clips x {crops} crops")
    bad = {row.path for row in found.bad} | {e.path for e in (cut.bad.values() if cut else ())}
    if bad:
        one = len(bad) == 1
        notes.append(f"{len(bad)} unreadable {'file is' if one else 'files are'} left out")
    return Written(path=paths[0], notes=notes)
