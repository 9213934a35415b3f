"""`manyviews search`: the images that are most like one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyviews.core.errors import UsageError
from manyviews.core.in_words import InWords
from manyviews.data.settings import MAX_PIXELS
from manyviews.data.there import check_there
from manyviews.runs.folder.there import check_encoder_there
from manyviews.verbs.parse import Positional

if TYPE_CHECKING:
    from manyviews.data.sources import ImageSource
    from manyviews.runs.embedder import Embedder


@dataclass(frozen=True, kw_only=True)
class Alike(InWords):
    """The images of a data set that are most like one.

    Attributes:
        image: the file that was asked about.
        near: (file, cosine of centred features), the most alike first.
        left_out: files that could not be read, as a warning has said.
    """

    image: str
    near: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    left_out: int = 0

    def lines(self) -> list[str]:
        """For people."""
        said = [f"{cosine:6.3f}  {name}" for name, cosine in self.near]
        return ["cosine  file", *said]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        near = [{"file": name, "cosine": cosine} for name, cosine in self.near]
        return {"image": self.image, "near": near, "left_out": self.left_out}


def search(
    run: Positional[str | Path],
    *,
    image: str | Path,
    data: str | Path = "",
    count: int = 10,
    which: str = "",
    step: str | int = "",
    max_pixels: int = MAX_PIXELS,
) -> "Alike":
    """Find the images that an encoder sees as most like one.

    Likeness is the cosine of features from which their mean was taken. The image itself, where it
    is in the data, comes first, with a cosine of 1.

    Args:
        run: a run directory, an encoder.safetensors or timm:NAME.
        image: the file that others are to be like.
        data: where to look: a folder, a text file of paths, fashion-mnist:DIR or builtin:fashion;
            the run's own if not given.
        count: how many to name.
        which: of a run with several encoders, the one that is meant.
        step: of a run's checkpoint (a number, or best); its own encoder if not given.
        max_pixels: larger images are refused from their header.
    """
    data = str(data)
    check_encoder_there(run)
    if not Path(image).is_file():
        raise UsageError(f"--image {image} is no file. Give one image.")
    if count < 1:
        raise UsageError(f"--count is {count}; wanted 1 or more.")
    if data:
        check_there(data)
    from manyviews.data.sources import open_source
    from manyviews.runs.at_step import open_at
    from manyviews.runs.folder.read import is_run, saved_run
    from manyviews.training import launch

    if not data and not is_run(Path(run)):
        raise UsageError(f"{run} is no run, so say where to look: --data DIR.")
    data = data or saved_run(Path(run)).data.source
    network = open_at(run, step=str(step), which=which).to(launch.device())
    source = open_source(data, channels=network.pixels.channels, max_pixels=max_pixels)
    return _nearest(network, source, str(image), count=count)


def _nearest(network: "Embedder", source: "ImageSource", image: str, *, count: int) -> Alike:
    import torch
    from torch.nn import functional as F

    from manyviews.core.progress import bar
    from manyviews.evaluation.features import extract
    from manyviews.runs.assemble import readers

    device = next(network.parameters()).device
    with torch.inference_mode():
        query = network(network.transform(image)[None].to(device)).float().cpu()
    with bar("embedding") as progress:
        seen = extract(
            network,
            source,
            network.fixed,
            batch_size=256,
            device=device,
            progress=progress,
            workers=readers(source),
        )
    features = seen.features.float().cpu()
    mean = features.mean(dim=0)
    cosines = F.normalize(features - mean, dim=1) @ F.normalize(query - mean, dim=1)[0]
    best = cosines.argsort(descending=True, stable=True)[:count].tolist()
    near = [(source.name(int(seen.index[i])), float(cosines[i])) for i in best]
    return Alike(image=image, near=near, left_out=len(seen.bad))
