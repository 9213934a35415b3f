"""Masks of a video's first frame, led through the others by how alike features of places are.

Nothing is trained. A place of a frame takes the mean mask of the places that it is most like, in
the first frame and in those just before it (Jabri et al. 2020; Caron et al. 2021, DINO, section
4.2.1; facebookresearch/dino@7c446df eval_video_segmentation.py).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import UsageError
from manyviews.evaluation.dense.contours import contour, region
from manyviews.evaluation.dense.masked import middles
from manyviews.evaluation.dense.settings import Propagation
from manyviews.evaluation.dense.videos import MaskedVideo, MaskedVideos
from manyviews.evaluation.intervals import bootstrap_of
from manyviews.evaluation.result import Result


def near(grid: tuple[int, int], radius: int) -> Tensor:
    """[N, N] bool: places of a grid no more than `radius` rows and columns apart; all for 0."""
    places = torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1]))
    apart = (places[:, None] - places).abs().amax(dim=2)
    return apart <= radius if radius else torch.ones_like(apart, dtype=torch.bool)


def propagate(
    features: Tensor, first: Tensor, grid: tuple[int, int], settings: Propagation
) -> Tensor:
    """The share of each object in each place of each frame [F, N, K], of the first as given.

    Of the first frame and the `previous` before it, the `top` places within `radius` that a place
    is most like give it theirs, by exp(cosine / temperature). What was found of a frame goes on as
    it is, undecided.

    Args:
        features: [F, N, D] of a video's frames.
        first: [N, K] of the first frame.
        grid: (rows, columns) with N in all.
        settings: see above.
    """
    x = F.normalize(features.float(), dim=2)
    allowed = near(grid, settings.radius)
    shares = first[None].float()
    for t in range(1, len(x)):
        context = [0, *range(max(1, t - settings.previous), t)]
        alike = x[t] @ x[context].flatten(0, 1).T / settings.temperature  # [N, context * N]
        alike = alike.masked_fill(~allowed.repeat(1, len(context)), -torch.inf)
        top = alike.topk(min(settings.top, alike.shape[1]), dim=1)
        theirs = shares[context].flatten(0, 1)[top.indices]  # [N, top, K]
        weights = top.values.softmax(dim=1)[..., None]
        shares = torch.cat([shares, (weights * theirs).sum(dim=1)[None]])
    return shares


def painted(shares: Tensor, grid: tuple[int, int], size: tuple[int, int], *, side: int) -> Tensor:
    """The object of each pixel [H, W] int64, of a frame's shares [N, K].

    They are made as large as what the encoder saw, each object's brought to 0 to 1, and the
    largest taken; then the nearest pixel of that.
    """
    maps = shares.T.unflatten(1, grid)[None].float()
    maps = F.interpolate(maps, size=(side, side), mode="bilinear")[0]
    maps = maps - maps.amin(dim=(1, 2), keepdim=True)
    peak = maps.amax(dim=(1, 2), keepdim=True)
    best = (maps / torch.where(peak > 0, peak, 1)).argmax(dim=0)
    return best[middles(side, size[0])][:, middles(side, size[1])]


def propagation(
    features: Tensor,
    videos: MaskedVideos,
    *,
    grid: tuple[int, int],
    side: int,
    settings: Propagation,
    still: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """The J&F of objects that are followed by features of places.

    Args:
        features: [all frames, N, D], in the order of `videos.source`.
        videos: with masks of their first frame, and of what is measured.
        grid: (rows, columns) with N in all.
        side: of what the encoder is fed, in pixels.
        settings: how masks are led on.
        still: leave every mask where it is in the first frame instead, as a floor.
        progress: told (videos done, videos in all).

    Raises:
        UsageError: no first mask has an object, or masks cannot be used.
    """
    began = time.perf_counter()
    scores: list[Tensor] = []
    frames, lost = 0, 0
    for done, video in enumerate(videos.videos):
        given = videos.mask(video, video.rows[0])
        objects = [n for n in given.unique().tolist() if n != 0 and n not in settings.ignore]
        if objects:
            first = _first(given, objects, grid)
            lost += int((first[:, 1:].sum(dim=0) == 0).sum())
            shown: _Shown = _Still(_numbers(given, objects))
            if not still:
                rows = slice(video.rows.start, video.rows.stop)
                shown = _Led(propagate(features[rows], first, grid, settings), grid, side)
            frames += len(video.judged)
            scores.append(_judged(videos, video, objects, shown, settings.ignore))
        if progress is not None:
            progress(done + 1, len(videos.videos))
    if not scores:
        raise UsageError("No first mask has an object. See --propagation.ignore.")
    each = torch.cat(scores)  # [objects, 2]
    table = torch.cat([each.mean(dim=1, keepdim=True), each], dim=1)
    estimates = bootstrap_of(
        lambda rows: table[rows].mean(dim=1), table.mean(dim=0).tolist(), len(table)
    )
    notes = [f"{len(videos.videos)} videos; {frames} frames measured; intervals over objects"]
    if lost:
        notes.append(f"{lost} objects are too small for a grid of {grid[0]} x {grid[1]}")
    return Result(
        protocol="propagation",
        version=1,
        train=0,
        n=len(table),
        classes=0,
        measures=dict(zip(("J&F", "J", "F"), estimates, strict=True)),
        seconds=time.perf_counter() - began,
        settings={**asdict(settings), "ignore": " ".join(map(str, settings.ignore))}
        | {"grid": f"{grid[0]}x{grid[1]}"},
        notes=tuple(notes),
    )


_Shown = Callable[[int, tuple[int, int]], Tensor]
"""(Place of a frame in its video, (H, W)) -> 0, 1, ... of each pixel, [H, W] int64."""


@dataclass(frozen=True)
class _Still:
    """The first mask again and again."""

    numbers: Tensor

    def __call__(self, frame: int, size: tuple[int, int]) -> Tensor:
        del frame, size
        return self.numbers


@dataclass(frozen=True)
class _Led:
    """What was led on, of all frames [F, N, K]."""

    shares: Tensor
    grid: tuple[int, int]
    side: int

    def __call__(self, frame: int, size: tuple[int, int]) -> Tensor:
        return painted(self.shares[frame], self.grid, size, side=self.side)


def _judged(
    videos: MaskedVideos,
    video: MaskedVideo,
    objects: list[int],
    shown: _Shown,
    ignore: Sequence[int],
) -> Tensor:
    """J and F of each object of a video [K, 2], means over its frames."""
    sums = torch.zeros(len(objects), 2, dtype=torch.float64)
    for row in video.judged:
        there = videos.mask(video, row)
        found = shown(row - video.rows.start, (there.shape[0], there.shape[1]))
        known = ~torch.isin(there, torch.tensor(ignore, dtype=there.dtype))
        for k, number in enumerate(objects):
            masks = found == k + 1, there == number, known
            sums[k] += torch.tensor([region(*masks), contour(*masks)], dtype=torch.float64)
    return sums / len(video.judged)


def _numbers(mask: Tensor, objects: list[int]) -> Tensor:
    """[H, W] int64: 1, 2, ... in place of the objects' numbers, 0 elsewhere."""
    out = torch.zeros_like(mask, dtype=torch.int64)
    for k, number in enumerate(objects):
        out[mask == number] = k + 1
    return out


def _first(mask: Tensor, objects: list[int], grid: tuple[int, int]) -> Tensor:
    """[N, 1 + K] float32: ground and objects in the middle of each place, 1 or 0."""
    small = _numbers(mask, objects)[middles(mask.shape[0], grid[0])]
    small = small[:, middles(mask.shape[1], grid[1])]
    return F.one_hot(small.flatten(), len(objects) + 1).float()
