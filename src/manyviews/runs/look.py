"""What an encoder makes of images: plain, in random views, and altered in one thing at a time."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core import Batch, Clock, UsageError
from manyviews.core.sample import Unreadable
from manyviews.core.settings import parts
from manyviews.data.sources import ImageSource
from manyviews.runs.assemble import Assembly, embedder
from manyviews.runs.embedder import Embedder
from manyviews.training import launch
from manyviews.views.image.engine import Engine
from manyviews.views.image.plain import Plain
from manyviews.views.image.single import rotate, single
from manyviews.views.plan import Crops, Mask

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
        engine: the first family of crops in a training, or SimCLR's where there is none.
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
        x = self.plain.input.finish(torch.from_numpy(pixels)).to(self.device)
        return {space: found.float().cpu() for space, found in self.encode(x).items()}


def look_at_encoder(subject: Embedder) -> Look:
    """At an encoder alone, with SimCLR's views at its own size."""
    device = launch.device()
    subject = subject.to(device)
    plain = subject.plain
    engine = Engine({"global": Crops(size=plain.size)}, channels=plain.channels, seed=0)

    @torch.inference_mode()
    def encode(x: Tensor) -> Spaces:
        return {"encoder": subject(x.flatten(0, 1)).unflatten(0, x.shape[:2])}

    return Look(plain, engine, encode, device)


def look_at_method(assembly: Assembly) -> Look:
    """At a run's encoder, and its projector where it has one, with the views of its training."""
    method, plain = assembly.method, assembly.plain
    embed = embedder(method.encoder, assembly.device)
    clock = Clock(1, 1)

    @torch.inference_mode()
    def encode(x: Tensor) -> Spaces:
        found = {"encoder": embed(x.flatten(0, 1)).unflatten(0, x.shape[:2])}
        if method.needs.get("global", 0) < 2 or any("." in name for name in method.needs):
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

    families = parts(assembly.run.views)
    crops = {name: plan for name, plan in families.items() if isinstance(plan, Crops)}
    name, plan = next(iter(crops.items()), ("global", Crops()))
    plan = replace(plan, size=plain.size, count=max(1, plan.count), mask=Mask())
    engine = Engine({name: plan}, channels=plain.channels, seed=assembly.run.seed)
    assigns = assign if isinstance(method, Assigns) else None
    return Look(plain, engine, encode, assembly.device, assigns)


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
    source: ImageSource,
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
        read = read_some(source, index[start : start + BATCH].tolist())
        if read:
            where, images = zip(*read, strict=True)
            pixels = look.plain.uint8(images)
            _collect(plain, look.features(pixels[:, None]), first=True)
            made = _random_views(look.engine, images, np.array(where, dtype=np.int64), views)
            _collect(random, look.features(made))
            if look.assign is not None:
                shares.append(look.assign(look.plain.input.finish(torch.from_numpy(pixels))))
            if len(rows) < TURNED:
                for name, altered in _altered(look.plain, pixels, np.array(where)):
                    for space, part in look.features(altered[:, None]).items():
                        changed.setdefault(space, {}).setdefault(name, []).append(part[:, 0])
            rows += where
        tell(min(start + BATCH, len(index)), len(index))
    if len(rows) < 10:
        advice = "Add images" if len(rows) == len(index) else "Check them with `manyviews doctor`"
        raise UsageError(
            f"{len(rows)} of {len(index)} images could be read; wanted 10 or more. {advice}."
        )
    return Sight(
        rows,
        {space: torch.cat(parts) for space, parts in plain.items()},
        {space: torch.cat(parts) for space, parts in random.items()},
        {s: {n: torch.cat(parts) for n, parts in by.items()} for s, by in changed.items()},
        torch.cat(shares) if shares else None,
    )


def read_some(source: ImageSource, index: Sequence[int]) -> list[tuple[int, Bytes]]:
    """(position, image) for these positions, unreadable ones left out."""
    found: list[tuple[int, Bytes]] = []
    for i in index:
        with contextlib.suppress(Unreadable):
            found.append((i, source.read(i)))
    return found


def _collect(into: dict[str, list[Tensor]], found: Spaces, *, first: bool = False) -> None:
    for space, part in found.items():
        into.setdefault(space, []).append(part[:, 0] if first else part)


def _random_views(
    engine: Engine, images: Sequence[Bytes], where: NDArray[np.int64], count: int
) -> Bytes:
    """[B, count, S, S, C]: a training's views of several epochs."""
    made: list[Bytes] = []
    while sum(part.shape[1] for part in made) < count:
        made += engine(images, where, len(made)).values()
    return np.concatenate(made, axis=1)[:, :count]


def _altered(plain: Plain, pixels: Bytes, where: NDArray[np.int64]) -> Iterator[tuple[str, Bytes]]:
    """Each single augmentation of plain views [B, S, S, C]."""
    for name, plan in single(plain.size, plain.channels).items():
        made = Engine({"global": plan}, channels=plain.channels, seed=0)(pixels, where, 0)
        yield name, made["global"][:, 0]
    yield f"rotation by {ROTATION:.0f}°", rotate(pixels, degrees=ROTATION)
