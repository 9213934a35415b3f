"""RCDM of a run: what an encoder's features keep of images, and what its projector's do."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import Batch
from manyviews.core.inputs import Pixels
from manyviews.core.progress import bar
from manyviews.core.sample import Bytes, Source
from manyviews.diagnosis.rcdm import Rcdm, fit, kept_of
from manyviews.diagnosis.settings import Samples
from manyviews.evaluation.features import extract
from manyviews.reports.content import Strip
from manyviews.reports.sight import Panel
from manyviews.runs.look import Look, see

log = logging.getLogger("manyviews")

SAYS = (
    "Each row has one image, and images that a diffusion model drew from nothing but its features. "
    "What all samples of an image share is in the features; what changes from sample to sample is "
    "not. Columns of one kind share their noise."
)
_JUDGED = 64
"""Images whose samples are encoded again, at most."""


@dataclass(frozen=True)
class _Kind:
    """One kind of features of the same images.

    Attributes:
        space: "encoder" or "projector".
        features: [N, D] of plain views.
        views: [N, D] of random ones.
        images: [N, C, S, S] thumbnails in [0, 1].
    """

    space: str
    features: Tensor
    views: Tensor
    images: Tensor


def samples_seen(
    look: Look, source: Source, *, count: int, settings: Samples, fed: Pixels
) -> Panel:
    """Train a model for each kind of features, and show what it draws.

    Args:
        look: whose features.
        source: the images.
        count: images that are shown.
        settings: of the models and of what is drawn.
        fed: what the encoder is fed.
    """
    wanted = _spread(len(source), settings.images)
    with bar("looking") as tell:
        sight = see(look, source, np.array(wanted), views=2, tell=tell)
    images = _thumbnails(look, source, sight.rows, fed, settings.side)
    shown = _spread(len(images), count)
    pictures = {i: [_picture(images[i])] for i in shown}
    captions = {i: [Path(source.name(sight.rows[i])).name] for i in shown}
    says = [SAYS]
    for space, features in sight.plain.items():
        kind = _Kind(space, features, sight.views[space][:, 0], images)
        fitted = _fitted(kind, settings)
        drawn = fitted.sample(
            features[shown],
            count=settings.each,
            guidance=settings.guidance,
            seed=settings.seed,
        )
        for i, some in zip(shown, drawn, strict=True):
            pictures[i] += [_picture(one) for one in some]
            captions[i] += [f"{space} {k + 1}" for k in range(len(some))]
        told = f"{space}: {fitted.steps:,} steps, loss {fitted.loss:.3f}"
        says.append(f"{told}. {_judged(look, fitted, kind, settings, fed)}")
    strips = [Strip(pictures=pictures[i], captions=captions[i]) for i in shown]
    return Panel(heading="Samples", says=says, strips=strips)


def _fitted(kind: _Kind, settings: Samples) -> Rcdm:
    with bar(f"learning to draw from the {kind.space}") as tell:
        return fit(
            kind.images,
            kind.features,
            steps=settings.steps,
            minutes=settings.minutes,
            batch_size=settings.batch_size,
            width=settings.width,
            lr=settings.lr,
            seed=settings.seed,
            tell=tell,
        )


def _spread(total: int, most: int) -> list[int]:
    """Up to `most` of `total` places, evenly."""
    places = np.linspace(0, total - 1, min(most, total)).astype(np.int64)
    return np.unique(places).tolist()


def _thumbnails(look: Look, source: Source, rows: Sequence[int], fed: Pixels, side: int) -> Tensor:
    """The plain views of some images [N, C, side, side] in [0, 1]."""

    def small(x: Tensor) -> Tensor:
        pixels = fed.restore(x)
        return F.interpolate(pixels, size=(side, side), mode="bilinear", antialias=True).flatten(1)

    seen = extract(small, source, look.fixed, rows=rows, device=look.device)
    return seen.features.unflatten(1, (fed.channels, side, side)).clamp(0, 1)


def _judged(look: Look, fitted: Rcdm, kind: _Kind, settings: Samples, fed: Pixels) -> str:
    """Whether samples have the features that they were drawn from, in words."""
    rows = torch.tensor(_spread(len(kind.images), _JUDGED))
    drawn = fitted.sample(kind.features[rows], count=2, seed=settings.seed + 1)
    found = _encoded(look, drawn.flatten(0, 1), kind.space, fed)
    if found is None:
        return "Features of its samples cannot be had: the method reads other views too."
    rest = torch.ones(len(kind.images), dtype=torch.bool)
    rest[rows] = False
    kept = kept_of(
        drawn,
        found.unflatten(0, drawn.shape[:2]),
        torch.cat([kind.features[rows], kind.features[rest]]),
        kind.views[rows],
        kind.images[rows],
    )
    weak = kept.rank < 0.5 * kept.most
    end = " The model is too weak to judge the features by: train it longer." if weak else ""
    said = str(kept)
    return f"{said[0].upper()}{said[1:]}.{end}"


def _encoded(look: Look, x: Tensor, space: str, fed: Pixels) -> Tensor | None:
    """Features [B, D] of thumbnails [B, C, S, S] in [0, 1]."""
    if space != "encoder" and (look.project is None or look.rest is not None):
        return None
    large = F.interpolate(x, size=(fed.side, fed.side), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(v).expand(fed.channels)[:, None, None] for v in (fed.mean, fed.std))
    views = ((large - mean) / std).to(look.device)[:, None]
    if space == "encoder":
        return look.encode(views)["encoder"][:, 0].float().cpu()
    assert look.project is not None
    index = torch.zeros(len(views), dtype=torch.int64, device=look.device)
    projected = look.project(views, Batch({}, index))
    return None if projected is None else projected[:, 0].float().cpu()


def _picture(x: Tensor) -> Bytes:
    """[H, W, C] uint8 of [C, H, W] in [0, 1]."""
    return (x * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
