"""What an encoder makes of samples: plain, in random views, and altered in one thing at a time."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core import Batch, Clock, UsageError
from manyviews.core.inputs import Input
from manyviews.core.sample import Source
from manyviews.core.settings import parts
from manyviews.data.loader import made, opened
from manyviews.runs.assemble import Assembly, embed_with
from manyviews.runs.embedder import Embedder
from manyviews.training import launch
from manyviews.views.pipeline import ALTERED, Fed, Item, Pipeline, plain_of, random_of

TURNED = 500
"""Images that each single augmentation is tried on, and as many more as fill the last batch."""
BATCH = 64
ROOM = 1 << 28
"""Numbers in the random views of one batch, at most."""

Spaces = dict[str, Tensor]


@runtime_checkable
class Assigns(Protocol):
    """A method with prototypes."""

    def assign(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> the share [B, K] of each prototype; K = 0 where it has none after all."""
        ...


@dataclass(frozen=True)
class Look:
    """Whose features are looked at, and how samples get to it.

    Attributes:
        fixed: makes the evaluation view.
        random: makes the views of a training, or those of `views.pipeline.RANDOM`.
        encode: as the encoder is fed, [B, V, *shape] -> space -> [B, V, D]; the first space is the
            encoder.
        device: where it computes.
        altered: augmentation -> what makes it of evaluation views; of images alone.
        assign: as the encoder is fed, [B, *shape] -> [B, K], where there are prototypes.
    """

    fixed: Pipeline
    random: Pipeline
    encode: Callable[[Tensor], Spaces]
    device: torch.device
    altered: Mapping[str, Pipeline] = field(default_factory=dict[str, Pipeline])
    assign: Callable[[Tensor], Tensor] | None = None

    @property
    def input(self) -> Input:
        """What the encoder is fed."""
        [fed] = self.fixed.inputs().values()
        return fed

    def finished(self, pipeline: Pipeline, raw: Mapping[str, NDArray[Any]]) -> Tensor:
        """[B, V, *shape] of the raw views of a pipeline's only family."""
        views = {name: torch.from_numpy(view) for name, view in raw.items()}
        [x] = pipeline.finish(views, {}, torch.zeros(0), self.device).views.values()
        return x

    def features(self, pipeline: Pipeline, raw: Mapping[str, NDArray[Any]]) -> Spaces:
        """Space -> [B, V, D] float32 on the CPU, of raw views [B, V, ...]."""
        found = self.encode(self.finished(pipeline, raw))
        return {space: part.float().cpu() for space, part in found.items()}


def alterations(input: Input) -> dict[str, Pipeline]:
    """What makes each single augmentation of evaluation views, where `ALTERED` has some."""
    make = ALTERED.get(type(input))
    families = {} if make is None else make(input)
    return {n: Pipeline({"global": plan}, {plan.to: Fed(input)}) for n, plan in families.items()}


def look_at_encoder(subject: Embedder) -> Look:
    """At an encoder alone, with the usual random views for what it is fed."""
    device = launch.device()
    subject = subject.to(device)
    fed = subject.input

    @torch.inference_mode()
    def encode(x: Tensor) -> Spaces:
        return {"encoder": subject(x.flatten(0, 1)).unflatten(0, x.shape[:2])}

    return Look(plain_of(fed), random_of(fed, {}), encode, device, alterations(fed))


def look_at_method(assembly: Assembly, name: str = "") -> Look:
    """At a run's encoder, and its projector where it has one, with the views of its training.

    Args:
        assembly: the run.
        name: of the encoder, where there are several.

    Raises:
        UsageError: there are several, and none was named.
    """
    method = assembly.method
    encoder = method.encoders[name] if name else method.encoder
    [name] = [key for key, kept in method.encoders.items() if kept is encoder]
    alone = len(method.encoders) == 1
    embed = embed_with(encoder, assembly.device)
    clock = Clock(1, 1)

    @torch.inference_mode()
    def encode(x: Tensor) -> Spaces:
        found = {"encoder": embed(x.flatten(0, 1)).unflatten(0, x.shape[:2])}
        needs = method.needs
        if not alone or needs.get("global", 0) < 2 or any("." in need for need in needs):
            return found
        method.eval()
        index = torch.arange(len(x), device=x.device)
        pairs: list[Tensor] = []
        for start in range(0, x.shape[1], 2):
            two = x[:, start : start + 2]
            if two.shape[1] == 1:
                two = two.expand(-1, 2, *two.shape[2:])
            step = method(Batch({"global": two}, index), clock)
            if step.projection is not None:
                pairs.append(step.projection)
        method.train()
        if pairs:
            found["projector"] = torch.cat(pairs, dim=1)[:, : x.shape[1]]
        return found

    @torch.inference_mode()
    def assign(views: Tensor) -> Tensor:
        method.eval()
        found = cast(Assigns, method).assign(views.to(assembly.device)).float().cpu()
        method.train()
        return found

    fed, run = encoder.input, assembly.run
    return Look(
        plain_of(fed),
        random_of(fed, parts(run.views), name, seed=run.seed),
        encode,
        assembly.device,
        alterations(fed),
        assign if alone and isinstance(method, Assigns) else None,
    )


def _silent(done: int, total: int) -> None:
    del done, total


@dataclass(frozen=True)
class Sight:
    """Features of some of the samples.

    Attributes:
        rows: the position of each sample in the data.
        plain: space -> [N, D].
        views: space -> [N, V, D], random training views.
        changed: space -> augmentation -> [M, D], of the first M images.
        assignment: [N, K] where there are prototypes.
    """

    rows: list[int]
    plain: Spaces
    views: Spaces
    changed: dict[str, Spaces]
    assignment: Tensor | None


def see(
    look: Look,
    source: Source,
    index: NDArray[np.int64],
    *,
    views: int,
    tell: Callable[[int, int], None] = _silent,
) -> Sight:
    """Embed plain views, random views and single augmentations of some samples."""
    rows: list[int] = []
    plain: dict[str, list[Tensor]] = {}
    random: dict[str, list[Tensor]] = {}
    changed: dict[str, dict[str, list[Tensor]]] = {}
    shares: list[Tensor] = []
    size = max(1, min(BATCH, ROOM // (views * math.prod(look.input.shape))))
    for start in range(0, len(index), size):
        items, passes = _read(look, source, index[start : start + size].tolist(), views)
        if items:
            raw = made(look.fixed, items)[0]
            _collect(plain, look.features(look.fixed, raw), first=True)
            _collect(random, look.features(look.random, _random_views(look, passes, views)))
            if look.assign is not None:
                shares.append(look.assign(look.finished(look.fixed, raw)[:, 0]))
            if len(rows) < TURNED:
                for name, part in _altered(look, list(items), raw):
                    for space, of in part.items():
                        changed.setdefault(space, {}).setdefault(name, []).append(of[:, 0])
            rows += items
        tell(min(start + size, len(index)), len(index))
    if len(rows) < 10:
        what = "images" if source.streams == ("image",) else "files"
        advice = f"Add {what}" if len(rows) == len(index) else "Check them with `manyviews doctor`"
        raise UsageError(
            f"{len(rows)} of {len(index)} {what} could be read; wanted 10 or more. {advice}."
        )
    return Sight(
        rows,
        {space: torch.cat(parts) for space, parts in plain.items()},
        {space: torch.cat(parts) for space, parts in random.items()},
        {s: {n: torch.cat(parts) for n, parts in by.items()} for s, by in changed.items()},
        torch.cat(shares) if shares else None,
    )


Items = dict[int, Any]


def _read(look: Look, source: Source, index: list[int], views: int) -> tuple[Items, list[Items]]:
    """What can be read, for the evaluation view and for each epoch of the random ones.

    An image is read once: of video and sound each epoch reads other pieces.
    """
    [layout] = look.random.makes.values()
    epochs = range(-(-views // layout.count))
    items, _ = opened(source, look.fixed, index)
    if look.fixed.streams == ("image",):
        return items, [items for _ in epochs]
    passes = [opened(source, look.random, list(items), epoch=epoch)[0] for epoch in epochs]
    whole = [i for i in items if all(i in read for read in passes)]
    return {i: items[i] for i in whole}, [{i: read[i] for i in whole} for read in passes]


def _collect(into: dict[str, list[Tensor]], found: Spaces, *, first: bool = False) -> None:
    for space, part in found.items():
        into.setdefault(space, []).append(part[:, 0] if first else part)


def _random_views(look: Look, passes: list[Items], count: int) -> dict[str, NDArray[Any]]:
    """Family -> [B, count, ...] raw: a training's views of several epochs."""
    [name] = look.random.makes
    each = [made(look.random, items, epoch=e)[0][name] for e, items in enumerate(passes)]
    return {name: np.concatenate(each, axis=1)[:, :count]}


def _altered(
    look: Look, where: list[int], raw: Mapping[str, NDArray[Any]]
) -> list[tuple[str, Spaces]]:
    """Each single augmentation of plain views [B, 1, S, S, C]."""
    [pixels] = raw.values()
    items = {i: Item(image=view) for i, view in zip(where, pixels[:, 0], strict=True)}
    return [
        (name, look.features(pipeline, made(pipeline, items)[0]))
        for name, pipeline in look.altered.items()
    ]
