"""The way from a sample to tensors: for training, embedding, evaluation, diagnosis, reports."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core import Batch, UsageError
from manyviews.core.inputs import Input, Pixels
from manyviews.core.sample import (
    WHOLE,
    Arrays,
    Family,
    Finishes,
    Layout,
    Maker,
    Mixes,
    Source,
    Unreadable,
    Window,
)
from manyviews.views.image.crops import CropMaker
from manyviews.views.image.engine import Engine
from manyviews.views.plan import Crops


@dataclass(frozen=True)
class Fed:
    """What an encoder wants of its views: its input, and the grid of its tokens."""

    input: Input
    grid: tuple[int, ...] = ()


@dataclass
class Item:
    """One sample, decoded as far as its views need it.

    Attributes:
        image: [H, W, C] uint8, which all crops are cut from.
        windows: family -> what was decoded, one a view.
        decoded: family -> the pieces.
    """

    image: NDArray[np.uint8] | None = None
    windows: dict[str, list[Window]] = field(default_factory=dict[str, list[Window]])
    decoded: dict[str, list[NDArray[Any]]] = field(default_factory=dict[str, list[NDArray[Any]]])


class Pipeline:
    """Makes the views of all families of a plan; pure in (seed, epoch, index, family, view).

    Attributes:
        planned: all families of the plan, also those without a view.
        makes: family -> the layout of its raw views.
        cues: "family.cue" -> its layout.
        streams: that are read.
    """

    def __init__(
        self, families: Mapping[str, Family], encoders: Mapping[str, Fed], *, seed: int = 0
    ) -> None:
        """Fit the plan to the encoders.

        Args:
            families: by name; those without a view are left out.
            encoders: by name: those that families are made for.
            seed: of the run.

        Raises:
            UsageError: a family is made for an encoder that is not there or is fed something
                else, or is cut around one that is not there, or images would be needed with
                several numbers of channels.
        """
        self.planned = tuple(families)
        families = {name: plan for name, plan in families.items() if plan.count}
        self._families = {name: families[name] for name in _in_order(families)}
        self._inputs: dict[str, Input] = {}
        self._makers: dict[str, Maker] = {}
        for name, plan in self._families.items():
            if plan.to not in encoders:
                raise UsageError(
                    f"The family {name!r} is made for the encoder {plan.to!r}, and there "
                    f"{'are' if len(encoders) > 1 else 'is'} {', '.join(encoders)}. "
                    f"Set --views.{name}.to."
                )
            fed = encoders[plan.to]
            self._inputs[name] = fed.input
            self._makers[name] = plan.maker(name, fed.input, fed.grid, seed=seed)
        _one_number_of_channels(self._families, self._inputs)
        self._crops = {
            name: maker
            for name, maker in self._makers.items()
            if isinstance(maker, CropMaker) and self._families[name].of == "image"
        }
        self._engine: Engine | None = None
        if self._crops:
            plans: dict[str, Crops] = {name: maker.crops for name, maker in self._crops.items()}
            channels = next(iter(self._crops.values())).channels
            self._engine = Engine(plans, channels=channels, seed=seed)
        self.makes = {name: maker.layout for name, maker in self._makers.items()}
        self.cues: dict[str, Layout] = {
            f"{name}.{cue}": layout
            for name, maker in self._makers.items()
            for cue, layout in maker.cues.items()
        }
        self.streams = tuple(dict.fromkeys(plan.of for plan in self._families.values()))
        self._only: Mapping[str, NDArray[np.int64]] | None = None

    def only(self, views: Mapping[str, NDArray[np.int64]]) -> "Pipeline":
        """The same, which makes these views, family -> [K] their numbers, and leaves the others.

        Cues are those of all views.
        """
        part = copy(self)
        part._only = views
        return part

    def inputs(self) -> dict[str, Input]:
        """Family -> what the encoder that it is made for is fed."""
        return dict(self._inputs)

    def asks(self, stream: str, *, span: float) -> list[Window]:
        """The windows that are decoded of a stream of `span` seconds, for sample 0 in epoch 0.

        Those of families that are cut around others are theirs and left out.
        """
        return [
            window
            for name, plan in self._families.items()
            if plan.of == stream and not plan.around
            for window in self._makers[name].windows(0, 0, span)
        ]

    def read(self, source: Source, index: int, epoch: int) -> Item:
        """Decode what the draws ask for. Raises `core.sample.Unreadable`. Runs in workers."""
        streams = source.open(index)
        item = Item()
        known: dict[tuple[str, Window], NDArray[Any]] = {}  # families may ask for the same

        def decoded(of: str, window: Window = WHOLE) -> NDArray[Any]:
            if (of, window) not in known:
                known[of, window] = streams[of].read(window)
            return known[of, window]

        for name, plan in self._families.items():
            if plan.of == "image":
                item.image = decoded(plan.of)
                continue
            around = item.windows.get(plan.around, [])
            windows = self._makers[name].windows(index, epoch, streams[plan.of].span, around)
            item.windows[name] = windows
            shown = range(len(windows)) if self._only is None else self._only[name].tolist()
            # A view that is not asked for is made of what is there, and not used.
            here = [windows[v if v in shown else shown[0]] for v in range(len(windows)) if shown]
            item.decoded[name] = [decoded(plan.of, window) for window in here]
            maker = self._makers[name]
            if here and isinstance(maker, Mixes) and maker.mixes:
                partners = maker.partners(index, epoch, len(source))
                pairs = zip(partners, item.decoded[name], strict=True)
                item.decoded[name] += [
                    self._of_partner(name, source, partner, view, epoch, own=own)
                    for view, (partner, own) in enumerate(pairs)
                ]
        return item

    def _of_partner(
        self,
        name: str,
        source: Source,
        index: int,
        view: int,
        epoch: int,
        *,
        own: NDArray[Any],
    ) -> NDArray[Any]:
        """What another sample has for a view; a view's own piece where it cannot be read."""
        try:
            stream = source.open(index)[self._families[name].of]
            window = self._makers[name].windows(index, epoch, stream.span)[view]
            return stream.read(window)
        except Unreadable:  # told of when it is that sample's turn
            return own

    def of_view(self, raw: NDArray[Any]) -> Item:
        """A sample of which a raw view is all that there is, for views of views."""
        item = Item()
        for name, plan in self._families.items():
            if plan.of == "image":
                item.image = raw
            else:
                item.windows[name], item.decoded[name] = [WHOLE], [raw]
        return item

    def stacked(self, source: Source) -> NDArray[np.uint8] | None:
        """All images [N, H, W, C], where they are in memory and nothing else is read."""
        return source.stack.get("image") if self.streams == ("image",) else None

    def make(
        self,
        items: Sequence[Item] | NDArray[np.uint8],
        index: NDArray[np.int64],
        epoch: int,
        into: Mapping[str, NDArray[Any]],
    ) -> dict[str, NDArray[Any]]:
        """Make the views of a batch. Runs in workers.

        Args:
            items: of B samples, from `read`; or images [B, H, W, C].
            index: [B] int64, their positions in the data set.
            epoch: counted from 0.
            into: family -> [B, V, ...] as `makes` says, to be filled.

        Returns:
            "family.cue" -> [B, V, ...].
        """
        images = items if isinstance(items, np.ndarray) else [item.image for item in items]
        found: dict[str, NDArray[Any]] = {}
        if self._engine is not None:
            self._engine(images, index, epoch, into=into, only=self._only)  # pyright: ignore[reportArgumentType] - read
            for name, maker in self._crops.items():
                masks = maker.masks(index, epoch)
                found |= {f"{name}.{cue}": made for cue, made in masks.items()}
        for name, maker in self._makers.items():
            shown = None if self._only is None else self._only[name]
            if name in self._crops or (shown is not None and not len(shown)):
                continue
            out = into[name] if shown is None else np.empty_like(into[name])
            cues = [
                self._one(name, items, images, row, int(index[row]), epoch, out[row])
                for row in range(len(index))
            ]
            if shown is not None:
                into[name][:, shown] = out[:, shown]
            for cue in maker.cues:
                found[f"{name}.{cue}"] = np.stack([one[cue] for one in cues])
        return found

    def _one(
        self,
        name: str,
        items: Sequence[Item] | NDArray[np.uint8],
        images: Any,
        row: int,
        index: int,
        epoch: int,
        out: NDArray[Any],
    ) -> Arrays:
        """One sample's views of a family that is not made in batch."""
        maker, plan = self._makers[name], self._families[name]
        if isinstance(items, np.ndarray) or plan.of == "image":
            return maker([images[row]], maker.windows(index, epoch, 0.0), index, epoch, out)
        item = items[row]
        around = item.windows.get(plan.around, [])
        return maker(item.decoded[name], item.windows[name], index, epoch, out, around)

    def finish(
        self,
        views: Mapping[str, Tensor],
        cues: Mapping[str, Tensor],
        index: Tensor,
        device: torch.device,
    ) -> Batch:
        """Move raw views to the device and make of them what the encoders take."""
        made = {
            name: self._inputs[name].finish(raw.to(device, non_blocking=True))
            for name, raw in views.items()
        }
        there = {name: cue.to(device, non_blocking=True) for name, cue in cues.items()}
        for name in made:
            maker = self._makers[name]
            if isinstance(maker, Finishes):
                own = {cue: there[f"{name}.{cue}"] for cue in maker.cues}
                made[name] = maker.late(made[name], own)
        return Batch(made, index.to(device, non_blocking=True), there)


def _in_order(families: Mapping[str, Family]) -> list[str]:
    """Names, each behind that of the family around which it is cut.

    Raises:
        UsageError: that family is not there or has no windows in time, or there is a circle.
    """
    for name, plan in families.items():
        if plan.around and plan.around not in families:
            raise UsageError(
                f"The family {name!r} is cut around {plan.around!r}, which is not made. "
                f"Set --views.{name}.around."
            )
        if plan.around and "image" in (plan.of, families[plan.around].of):
            raise UsageError(
                f"The family {name!r} is cut around {plan.around!r}, and images have no time to "
                f"cut around. Leave out --views.{name}.around."
            )
    placed: list[str] = []
    while len(placed) < len(families):
        rest = {name: plan.around for name, plan in families.items() if name not in placed}
        ready = [name for name, around in rest.items() if not around or around in placed]
        if not ready:
            first = next(iter(rest))
            raise UsageError(
                f"The families {', '.join(rest)} are cut around one another in a circle. "
                f"Leave out --views.{first}.around."
            )
        placed += ready
    return placed


def _one_number_of_channels(families: Mapping[str, Family], inputs: Mapping[str, Input]) -> None:
    """Refuse a plan that needs images with several numbers of channels: they are decoded once."""
    fed = {
        name: given.channels
        for name, given in inputs.items()
        if families[name].of == "image" and isinstance(given, Pixels)
    }
    if len(set(fed.values())) > 1:
        said = " and ".join(f"{count} in {name!r}" for name, count in fed.items())
        raise UsageError(
            f"Images have one number of channels in all families, and it would be {said}. "
            "Give their encoders one --encoders.NAME.input.channels."
        )
