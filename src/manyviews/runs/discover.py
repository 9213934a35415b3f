"""What `evaluate --protocol discovery` measures: whether objects are found without labels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.core.progress import bar
from manyviews.diagnosis.objects import lost, tokencut
from manyviews.evaluation.dense.boxed import BoxedImages, open_boxed
from manyviews.evaluation.dense.corloc import corloc
from manyviews.evaluation.features import cached, extract, fingerprint, said
from manyviews.evaluation.result import Beside, Result
from manyviews.runs.assemble import readers
from manyviews.runs.dense import DenseTask
from manyviews.runs.embedder import Embedder
from manyviews.runs.see import grid_of, patches_of
from manyviews.runs.subject import untrained
from manyviews.views.by_input import whole_of

WAYS = {"TokenCut": tokencut, "LOST": lost}
"""What finds one object in an image, by name; the headline first."""


def boxed_whole(subject: Embedder, asked: DenseTask) -> list[BoxedImages]:
    """All images of the JSON that is tested on. Raises UsageError as `open_boxed`."""
    if asked.train_data:
        raise UsageError("discovery learns nothing. Leave out --train-data.")
    grid_of(subject)  # which says what is wrong with encoders of very many or few places
    return [open_boxed(asked.data, channels=subject.pixels.channels, max_pixels=asked.max_pixels)]


def discovered(
    subject: Embedder, parts: Sequence[BoxedImages], asked: DenseTask, settings: None
) -> Beside:
    """The protocol on the encoder, on an untrained one, and on a box around the whole image."""
    del settings
    [images] = parts
    mine = _of(subject, images, asked)
    if not asked.baselines:
        return Beside(result=mine, beside={})
    whole = torch.cat([torch.zeros_like(images.sizes), images.sizes], dim=1)
    beside = {
        "the whole image": corloc(dict.fromkeys(WAYS, whole), images.boxes),
        "untrained encoder": _of(untrained(subject).to(asked.device), images, asked),
    }
    return Beside(result=mine, beside=beside)


def _of(network: Embedder, images: BoxedImages, asked: DenseTask) -> Result:
    grid, input = grid_of(network), network.pixels

    def boxes(x: Tensor) -> Tensor:
        """[B, ways, 4], as shares of the sides."""
        features, _ = patches_of(network, x)
        found = [[way(patches, grid).box for way in WAYS.values()] for patches in features]
        return torch.tensor(found)

    with bar("looking for objects") as progress:
        got = cached(
            asked.cache.directory,
            encoder=f"{fingerprint(network)} {network.config} boxes by {', '.join(WAYS)}",
            source=images.source.digest,
            transform=f"whole {said(input)}",
            compute=lambda: extract(
                boxes,
                images.source,
                whole_of(input),
                batch_size=min(asked.batch_size, 32),
                device=asked.device,
                progress=progress,
                workers=readers(images.source),
            ),
            warn=asked.cache.warn,
        )
    scale = images.sizes[got.index].repeat(1, 2)
    found = {way: got.features[:, i].double() * scale for i, way in enumerate(WAYS)}
    return corloc(found, [images.boxes[row] for row in got.index.tolist()])
