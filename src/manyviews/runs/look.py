"""What an encoder makes of images: plain, in random views, and altered in one thing at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core import Batch, Clock, UsageError
from manyviews.data.sources import Source
from manyviews.runs.assemble import Assembly, embedder, read_many
from manyviews.runs.embedder import Embedder
from manyviews.training import launch
from manyviews.views import normalise
from manyviews.views.image.engine import Engine
from manyviews.views.image.plain import Plain
from manyviews.views.image.single import rotate, single
from manyviews.views.plan import Crops, Views

ROTATION = 15.0
"""Degrees, of the one turn that is tried."""
TURNED = 500
"""Images that each single augmentation is tried on, and as many more as fill the last batch."""
BATCH = 64

Bytes = NDArray[np.uint8]
Spaces = dict[str, Tensor]


@runtime_checkable
class Assigns(Protocol):
    """A method with prototypes."""

    def assign(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> the share [B, K] of each prototype; K = 0 where it has none after all."""
        ...


@dataclass(frozen=True)
class Look:
    """Whose features are looked at, and how images get to it.

    Attributes:
        plain: the evaluation view.
        engine: training views, or SimCLR's where nobody trained here.
        encode: normalised [B, V, C, S, S] -> space -> [B, V, D]; the first space is the encoder.
        device: where it computes.
        assign: normalised [B, C, S, S] -> [B, K], where there are prototypes.
    """

    plain: Plain
    engine: Engine
    encode: Callable[[Tensor], Spaces]
    device: torch.device
    assign: Callable[[Tensor], Tensor] | None = None

    def features(self, pixels: Bytes) -> Spaces:
        """uint8 [B, V, S, S, C] -> space -> [B, V, D] float32 on the CPU."""
        x = normalise(torch.from_numpy(pixels), self.plain.mean, self.plain.std).to(self.device)
        return {space: found.float().cpu() for space, found in self.encode(x).items()}


def look_at_encoder(subject: Embedder) -> Look:
    """At an encoder alone, with SimCLR's views at its own size."""
    device = launch.device()
    subject = subject.to(device)
    plain = subject.plain
    plan = Views(global_=Crops(size=plain.size))

    @torch.inference_mode()
    def encode(x: Tensor) -> Spaces:
        return {"encoder": subject(x.flatten(0, 1)).unflatten(0, x.shape[:2])}

    return Look(plain, Engine(plan, channels=plain.channels, seed=0), encode, device)


def look_at_method(assembly: Assembly) -> Look:
    """At a run's encoder, and its projector where it has one, with the views of its training."""
    method, views = assembly.method, assembly.run.views
    embed = embedder(method.encoder, assembly.device)
    clock = Clock(1, 1)

    @torch.inference_mode()
    def encode(x: Tensor) -> Spaces:
        found = {"encoder": embed(x.flatten(0, 1)).unflatten(0, x.shape[:2])}
        if method.needs.get("mask", 0) or method.needs.get("global", 0) < 2:
            return found
        method.eval()
        index = torch.arange(len(x), device=x.device)
        pairs: list[Tensor] = []
        for start in range(0, x.shape[1], 2):
            two = x[:, start : start + 2]
            if two.shape[1] == 1:
                two = two.expand(-1, 2, -1, -1, -1)
            step = method(Batch({"global": two}, index), clock)
            if step.projection is not None:
                pairs.append(step.projection)
        method.train()
        if pairs:
            found["projector"] = torch.cat(pairs, dim=1)[:, : x.shape[1]]
        return found

    @torch.inference_mode()
    def assign(images: Tensor) -> Tensor:
        method.eval()
        found = cast(Assigns, method).assign(images.to(assembly.device)).float().cpu()
        method.train()
        return found

    plan = replace(views, local=replace(views.local, count=0), mask=replace(views.mask, ratio=0.0))
    plan = replace(plan, global_=replace(plan.global_, count=max(1, plan.global_.count)))
    engine = Engine(plan, channels=assembly.run.data.channels, seed=assembly.run.seed)
    assigns = assign if isinstance(method, Assigns) else None
    return Look(assembly.plain, engine, encode, assembly.device, assigns)


def _silent(done: int, total: int) -> None:
    del done, total


@dataclass(frozen=True)
class Sight:
    """Features of one sample of images.

    Attributes:
        rows: the position of each image in the data.
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
    """Embed plain views, random views and single augmentations of a sample."""
    rows: list[int] = []
    plain: dict[str, list[Tensor]] = {}
    random: dict[str, list[Tensor]] = {}
    changed: dict[str, dict[str, list[Tensor]]] = {}
    shares: list[Tensor] = []
    for start in range(0, len(index), BATCH):
        read = read_many(source, index[start : start + BATCH].tolist())
        if read:
            where, images = zip(*read, strict=True)
            pixels = look.plain.uint8(images)
            _collect(plain, look.features(pixels[:, None]), first=True)
            made = _random_views(look.engine, images, np.array(where, dtype=np.int64), views)
            _collect(random, look.features(made))
            if look.assign is not None:
                x = normalise(torch.from_numpy(pixels), look.plain.mean, look.plain.std)
                shares.append(look.assign(x))
            if len(rows) < TURNED:
                for name, altered in _altered(look.plain, pixels, np.array(where)):
                    for space, part in look.features(altered[:, None]).items():
                        changed.setdefault(space, {}).setdefault(name, []).append(part[:, 0])
            rows += where
        tell(min(start + BATCH, len(index)), len(index))
    if len(rows) < 10:
        raise UsageError(
            f"{len(rows)} of {len(index)} images could be read; wanted 10 or more. Check them with "
            "`manyviews doctor`."
        )
    return Sight(
        rows,
        {space: torch.cat(parts) for space, parts in plain.items()},
        {space: torch.cat(parts) for space, parts in random.items()},
        {s: {n: torch.cat(parts) for n, parts in by.items()} for s, by in changed.items()},
        torch.cat(shares) if shares else None,
    )


def _collect(into: dict[str, list[Tensor]], found: Spaces, *, first: bool = False) -> None:
    for space, part in found.items():
        into.setdefault(space, []).append(part[:, 0] if first else part)


def _random_views(
    engine: Engine, images: Sequence[Bytes], where: NDArray[np.int64], count: int
) -> Bytes:
    """[B, count, S, S, C]: a training's views of several epochs."""
    parts: list[Bytes] = []
    while sum(part.shape[1] for part in parts) < count:
        made, _ = engine(images, where, len(parts))
        parts.append(made["global"])
    return np.concatenate(parts, axis=1)[:, :count]


def _altered(plain: Plain, pixels: Bytes, where: NDArray[np.int64]) -> Iterator[tuple[str, Bytes]]:
    """Each single augmentation of plain views [B, S, S, C]."""
    for name, plan in single(plain.size, plain.channels).items():
        made, _ = Engine(plan, channels=plain.channels, seed=0)(pixels, where, 0)
        yield name, made["global"][:, 0]
    yield f"rotation by {ROTATION:.0f}°", rotate(pixels, degrees=ROTATION)
