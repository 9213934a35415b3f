"""What an encoder sees in images, as pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from manyviews.core import Unsupported, UsageError
from manyviews.core.progress import bar
from manyviews.core.sample import Source
from manyviews.data.direct import made, opened
from manyviews.diagnosis.objects import lost, tokencut
from manyviews.encoders.vit import keys
from manyviews.reports.content import Strip
from manyviews.reports.pictures import boxed, heat
from manyviews.reports.sight import Panel
from manyviews.runs.embedder import Embedder

_PATCHES = 1600
"""More are not compared with one another: TokenCut takes their number to the third."""


def shown_of(subject: Embedder, source: Source, *, count: int) -> tuple[Tensor, list[str]]:
    """Plain views [B, C, S, S] of up to `count` images, evenly spread, and their files' names.

    Raises:
        UsageError: none can be read.
    """
    rows = sorted({round(i) for i in np.linspace(0, len(source) - 1, min(count, len(source)))})
    items, _ = opened(source, subject.fixed, rows)
    if not items:
        raise UsageError(
            f"None of {len(rows)} images of {source.spec} can be read. Run `manyviews doctor`."
        )
    raw = {name: torch.from_numpy(v) for name, v in made(subject.fixed, items)[0].items()}
    device = next(subject.parameters()).device
    [views] = subject.fixed.finish(raw, {}, torch.tensor(list(items)), device).views.values()
    return views[:, 0], [Path(source.name(i)).name for i in items]


@torch.inference_mode()
def objects_seen(subject: Embedder, images: Tensor, names: Sequence[str]) -> Panel:
    """What LOST and TokenCut take for the object of each image.

    Args:
        subject: the encoder.
        images: [B, C, S, S], its plain views.
        names: of their files.

    Raises:
        UsageError: an encoder of very many, or of hardly any places.
    """
    rows, columns = grid = grid_of(subject)
    features, what = patches_of(subject, images)
    strips: list[Strip] = []
    with bar("looking for objects") as progress:
        for image, name, patches in zip(images, names, features, strict=True):
            progress(len(strips), len(names))
            picture = subject.pixels.picture(image)
            first, second = lost(patches, grid), tokencut(patches, grid)
            strips.append(
                Strip(
                    pictures=[
                        picture,
                        heat(picture, first.map),
                        boxed(picture, first.mask, first.box),
                        heat(picture, second.map),
                        boxed(picture, second.mask, second.box),
                    ],
                    captions=[name, "LOST: like the seed", "LOST", "TokenCut: its cut", "TokenCut"],
                )
            )
    says = (
        "Boxes around what may be the object of each image, found without labels and without "
        f"training, from {what} on a grid of {rows} x {columns}.",
        "LOST begins at the patch that is like the fewest others and takes what is like it. "
        "TokenCut divides the patches in two where they are the least alike, and takes the side "
        "that stands out. Where both frame the same thing, patches of things and of grounds are "
        "told apart; a box around the whole image, or around a corner, says that they are not.",
    )
    return Panel(heading="Objects", says=says, strips=strips)


def grid_of(subject: Embedder) -> tuple[int, int]:
    """Rows and columns of places, among which objects can be looked for.

    Raises:
        UsageError: an encoder of something else, of very many, or of hardly any places.
    """
    _ = subject.pixels  # which says what is wrong with other encoders
    rows, columns = subject.encoder.grid
    if not 16 <= rows * columns <= _PATCHES:
        raise UsageError(
            f"This encoder has {rows} x {columns} places in an image; objects want 4 x 4 to 40 x "
            "40. Give an encoder of finer patches, or another --image-size."
        )
    return rows, columns


@torch.inference_mode()
def patches_of(subject: Embedder, images: Tensor) -> tuple[Tensor, str]:
    """What objects are looked for in, [B, N, D] of [B, C, S, S]; and what that is, in words."""
    try:
        return keys(subject.encoder, images), "the keys of its last block"
    except Unsupported:
        features = subject.tokens(images)
        return features - features.mean(dim=1, keepdim=True), "its features, less a mean"
