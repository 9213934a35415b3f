"""What an encoder makes of samples: plain, in random views, and altered in one thing at a time."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core import Batch, Clock, Method, UsageError
from manyviews.core.inputs import Input, Pixels
from manyviews.core.nouns import noun_of
from manyviews.core.sample import Source
from manyviews.core.settings import parts
from manyviews.data.direct import made, opened
from manyviews.runs.assemble import Assembly, embed_with, tokens_with
from manyviews.runs.embedder import Embedder
from manyviews.training import launch
from manyviews.views.by_input import ALTERED, plain_of, random_of
from manyviews.views.pipeline import Fed, Pipeline

log = logging.getLogger("manyviews")

TURNED = 500
"""Samples that each single augmentation is tried on, and as many more as fill the last batch."""
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


RawViews = tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]
"""Family -> raw views [B, V, ...]; "family.cue" -> [B, V, ...]."""


@dataclass(frozen=True)
class Look:
    """Whose features are looked at, and how samples get to it.

    Attributes:
        fixed: makes the evaluation view.
        random: makes the views of a training, or those of `views.by_input.RANDOM`.
        encode: as the encoder is fed, [B, V, *shape] -> space -> [B, V, D]; the first space is the
            encoder.
        project: those views in the place of their family in a batch of the training -> what the
            loss sees of them, [B, V, D]; None where that is nothing.
        rest: makes such a batch, where a method reads more than the family that is looked at.
        of: digest of the only data on which `project` means something; "" for any.
        device: where it computes.
        altered: augmentation -> what makes it of evaluation views; of images alone.
        assign: as the encoder is fed, [B, *shape] -> [B, K], where there are prototypes.
        patches: as the encoder is fed, [B, *shape] -> features of its places [B, N, D], of images.
    """

    fixed: Pipeline
    random: Pipeline
    encode: Callable[[Tensor], Spaces]
    device: torch.device
    altered: Mapping[str, Pipeline] = field(default_factory=dict[str, Pipeline])
    assign: Callable[[Tensor], Tensor] | None = None
    project: Callable[[Tensor, Batch], Tensor | None] | None = None
    rest: Pipeline | None = None
    of: str = ""
    patches: Callable[[Tensor], Tensor] | None = None

    @property
    def input(self) -> Input:
        """What the encoder is fed."""
        [fed] = self.fixed.inputs().values()
        return fed

    def finished(self, pipeline: Pipeline, raw: RawViews) -> Tensor:
        """[B, V, *shape] of the raw views of a pipeline's only family, and of their cues."""
        views, cues = ({name: _tensor(part) for name, part in some.items()} for some in raw)
        [x] = pipeline.finish(views, cues, torch.zeros(0), self.device).views.values()
        return x

    def features(self, pipeline: Pipeline, raw: RawViews, batch: Batch) -> Spaces:
        """Space -> [B, V, D] float32 on the CPU, of raw views [B, V, ...] and their cues."""
        x = self.finished(pipeline, raw)
        found = self.encode(x)
        projected = None if self.project is None else self.project(x, batch)
        if projected is not None:
            found["projector"] = projected
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

    alone = Look(plain_of(fed), random_of(fed, {}), encode, device, alterations(fed))
    return replace(alone, patches=_of_places(fed, subject.tokens))


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
    fed, run = encoder.input, assembly.run
    random = random_of(fed, parts(run.views), name, seed=run.seed)
    [(family, layout)] = random.makes.items()
    needed = {need.partition(".")[0] for need, least in method.needs.items() if least}
    others = needed != {family} or any("." in need for need in method.needs)
    held = any(getattr(module, "of_samples", False) for module in method.modules())

    def encode(x: Tensor) -> Spaces:
        return {"encoder": embed(x.flatten(0, 1)).unflatten(0, x.shape[:2])}

    @torch.inference_mode()
    def project(x: Tensor, batch: Batch) -> Tensor | None:
        method.eval()
        own = batch.views.get(family)  # of a family of another kind: blocks, say, for crops
        count = layout.count if own is None else own.shape[1]
        found = _projected(method, x, batch, family=family, count=count)
        method.train()
        return found

    @torch.inference_mode()
    def assign(views: Tensor) -> Tensor:
        method.eval()
        found = cast(Assigns, method).assign(views.to(assembly.device)).float().cpu()
        method.train()
        return found

    return Look(
        plain_of(fed),
        random,
        encode,
        assembly.device,
        alterations(fed),
        assign if alone and isinstance(method, Assigns) else None,
        project if alone and family in needed else None,
        assembly.pipeline if others else None,
        assembly.source.digest if held else "",
        _of_places(fed, tokens_with(encoder, assembly.device)),
    )


def _of_places(fed: Input, tokens: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor] | None:
    """Features of places, of encoders of images: those of others are not measured."""
    return tokens if isinstance(fed, Pixels) else None


def _projected(
    method: Method, x: Tensor, batch: Batch, *, family: str, count: int
) -> Tensor | None:
    """What a method's loss sees of views [B, V, ...] that stand in the place of a family's.

    Args:
        method: in eval mode.
        x: the views.
        batch: one of its training, of the same samples.
        family: whose first projections are those of its first views.
        count: of the family's views; the last is repeated where fewer are left.
    """
    found: list[Tensor] = []
    start, end = 0, x.shape[1]
    while start < end:
        some = x[:, [min(start + v, end - 1) for v in range(count)]]
        there = Batch({**batch.views, family: some}, batch.index, batch.cues)
        projection = method(there, Clock(1, 1)).projection
        if projection is None:
            return None
        found.append(projection[:, : min(count, end - start)])
        start += found[-1].shape[1]
    return torch.cat(found, dim=1)


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
    if look.of and look.of != source.digest:
        log.info("the projector is left out: the method knows its own samples alone.")
        look = replace(look, project=None)
    for start in range(0, len(index), size):
        items, passes, rest = _read(look, source, index[start : start + size].tolist(), views)
        if items:
            raw = made(look.fixed, items)
            batch = _batch(look, list(items), rest)
            found = look.features(look.fixed, raw, batch)
            if "projector" not in found:  # it has none: it need not be asked again
                look = replace(look, project=None)
            _collect(plain, found, first=True)
            _collect(random, look.features(look.random, _random_views(look, passes, views), batch))
            if look.assign is not None:
                shares.append(look.assign(look.finished(look.fixed, raw)[:, 0]))
            if len(rows) < TURNED:
                for name, part in _altered(look, list(items), raw, batch):
                    for space, of in part.items():
                        changed.setdefault(space, {}).setdefault(name, []).append(of[:, 0])
            rows += items
        tell(min(start + size, len(index)), len(index))
    if len(rows) < 10:
        what = noun_of(source.streams).many
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


def _read(
    look: Look, source: Source, index: list[int], views: int
) -> tuple[Items, list[Items], Items]:
    """What can be read, for the evaluation view, each epoch of the random ones, and the rest.

    An image is read once: of video and sound each epoch reads other pieces.
    """
    rest = look.rest if look.project is not None else None
    [layout] = look.random.makes.values()
    epochs = range(-(-views // layout.count))
    items, _ = opened(source, look.fixed, index)
    if look.fixed.streams == ("image",) and (rest is None or rest.streams == ("image",)):
        return items, [items for _ in epochs], items
    passes = [opened(source, look.random, list(items), epoch=epoch)[0] for epoch in epochs]
    others = items if rest is None else opened(source, rest, list(items))[0]
    whole = [i for i in items if all(i in read for read in (*passes, others))]
    [items, others, *passes] = [{i: r[i] for i in whole} for r in (items, others, *passes)]
    return items, passes, others


def _batch(look: Look, index: list[int], rest: Items) -> Batch:
    """What a method reads of these samples but for the views that are looked at."""
    where = torch.tensor(index, device=look.device)
    if look.project is None or look.rest is None:
        return Batch({}, where)
    views, cues = made(look.rest, rest)
    raw = {name: _tensor(view) for name, view in views.items()}
    hints = {name: _tensor(cue) for name, cue in cues.items()}
    return look.rest.finish(raw, hints, where, look.device)


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def _collect(into: dict[str, list[Tensor]], found: Spaces, *, first: bool = False) -> None:
    for space, part in found.items():
        into.setdefault(space, []).append(part[:, 0] if first else part)


def _random_views(look: Look, passes: list[Items], count: int) -> RawViews:
    """A training's views of several epochs, [B, count, ...], and their cues."""
    each = [made(look.random, items, epoch=e) for e, items in enumerate(passes)]
    views, cues = (
        {name: np.concatenate([one[name] for one in some], axis=1)[:, :count] for name in some[0]}
        for some in zip(*each, strict=True)
    )
    return views, cues


def _altered(look: Look, where: list[int], raw: RawViews, batch: Batch) -> list[tuple[str, Spaces]]:
    """Each single augmentation of raw plain views [B, 1, ...]."""
    [plain] = raw[0].values()
    found: list[tuple[str, Spaces]] = []
    for name, pipeline in look.altered.items():
        items = {i: pipeline.of_view(view) for i, view in zip(where, plain[:, 0], strict=True)}
        found.append((name, look.features(pipeline, made(pipeline, items), batch)))
    return found
