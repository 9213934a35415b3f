"""Showing a frozen teacher what the trained encoder sees, and holding their maps together."""

import math
from typing import Protocol, TypeGuard, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Given, UsageError
from manyviews.core.inputs import Input, Pixels

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class OfCodes(Protocol):
    """An encoder that turns images into codes by a frozen tokenizer of its own, and reads these.

    Instead of images it takes their codes [B, N] int64 too, which `codes` gives.

    Attributes:
        tokenizer: its largest token score is the code of a place.
        words: a vector of each code.
    """

    tokenizer: Encoder
    words: nn.Embedding

    def adopt(self, tokenizer: Encoder) -> None:
        """Take over another tokenizer's weights. Raises UsageError where it is of other sizes."""
        ...

    def codes(self, x: Tensor) -> Tensor:
        """Images [B, *input.shape] -> [B, N] int64."""
        ...


def reads_codes(encoder: object) -> TypeGuard[OfCodes]:
    """Whether it is `OfCodes`: since Python 3.12 `isinstance` of a protocol asks no module."""
    return all(hasattr(encoder, name) for name in ("words", "adopt", "codes"))


class Shown:
    """A teacher that takes views made for another encoder. It is no module: nothing saves it.

    What both are fed alike goes through as it is. Images are brought back to pixels, resized to
    the teacher's side where that differs, rounded to 256 levels as decoded images are, and
    normalised by the teacher's own mean and deviation.

    Attributes:
        teacher: frozen, in evaluation mode.
    """

    def __init__(self, teacher: Encoder, ours: Input, *, name: str = "teacher") -> None:
        """Keep the teacher.

        Args:
            teacher: stays as it is.
            ours: what the views were made for.
            name: of the teacher, for messages.

        Raises:
            UsageError: such views cannot be turned into what the teacher is fed.
        """
        self.teacher, self._ours = teacher, ours
        theirs = teacher.input
        if ours == theirs:
            return
        if not (isinstance(ours, Pixels) and isinstance(theirs, Pixels)):
            raise UsageError(
                f"The teacher {name!r} is fed {type(theirs).__name__} and the encoder "
                f"{type(ours).__name__} of other settings; only images can be turned from one into "
                f"the other. Give a teacher with the encoder's input: --teachers.{name}."
            )
        if ours.channels != theirs.channels:
            raise UsageError(
                f"The teacher {name!r} is fed images of {theirs.channels} channels, and the "
                f"encoder {ours.channels}. Set --data.channels {theirs.channels}, or give another "
                f"teacher: --teachers.{name} timm:NAME | FILE | RUN."
            )

    @torch.no_grad()
    def __call__(self, x: Tensor, *, tokens: bool = False) -> Features:
        """What the teacher says of views [B, *ours.shape], which may be smaller crops."""
        return self.teacher(self.turn(x), tokens=tokens)

    def turn(self, x: Tensor) -> Tensor:
        """[B, C, S, S] as the encoder takes them -> as the teacher does, of its own side."""
        theirs = self.teacher.input
        if not isinstance(theirs, Pixels):
            return x
        if self._ours == theirs and x.shape[1:] == theirs.shape:
            return x
        pixels = self._ours.restore(x)
        if pixels.shape[-1] != theirs.side:
            size = (theirs.side, theirs.side)
            pixels = F.interpolate(pixels.float(), size, mode="bicubic", antialias=True)
        raw = (pixels * 255).round().clamp(0, 255).to(torch.uint8).movedim(-3, -1)
        return theirs.finish(raw).to(x.dtype)


def giver_of_codes(given: Given, encoder: Encoder, *, name: str) -> Encoder:
    """The teacher whose largest token score is the code of a place of the encoder's.

    One that reads codes lends what makes them.

    Args:
        given: with the teachers.
        encoder: whose places have codes.
        name: of the teacher.

    Raises:
        UsageError: there is none, or its codes lie on another grid than the encoder's tokens.
    """
    if name not in given.teachers:
        raise UsageError(
            f"Codes come from a {name}. Take a recipe that names one and give it: "
            f"--teachers.{name} RUN."
        )
    teacher = given.teachers[name]
    giver = teacher.tokenizer if reads_codes(teacher) else cast(Encoder, teacher)
    if giver.grid != encoder.grid:
        raise UsageError(
            f"The {name} has codes on a grid of {giver.grid} and the encoder tokens on "
            f"one of {encoder.grid}. Set --encoder.patch or --encoder.input.side, or train "
            f"another {name}."
        )
    return giver


def token_width(encoder: Encoder, *, instead: str = "Set --method.dense 0.") -> int:
    """How wide an encoder's tokens are, which is not always `dim`; it is tried on one black view.

    Args:
        encoder: any.
        instead: what to do where it makes none.

    Raises:
        UsageError: it makes none.
    """
    modes = [(module, module.training) for module in encoder.modules()]
    at = next(encoder.parameters())
    black = torch.zeros(1, *encoder.input.shape, device=at.device, dtype=at.dtype)
    with torch.no_grad():
        tokens = encoder.eval()(black).tokens
    for module, mode in modes:
        module.training = mode
    if not tokens.shape[1]:
        raise UsageError(f"{type(encoder).__name__} makes no tokens to match. {instead}")
    return tokens.shape[2]


def regrid(tokens: Tensor, old: tuple[int, ...], new: tuple[int, ...]) -> Tensor:
    """Tokens of one grid, interpolated (linearly along each axis) to the places of another.

    Args:
        tokens: [B, N, D]; of a smaller square view N may be another square than `old` says.
        old: their grid.
        new: the wanted one.

    Returns:
        [B, prod(new), D].

    Raises:
        UsageError: the grids have different numbers of axes.
    """
    if len(old) != len(new):
        raise UsageError(
            f"Tokens on a grid of {old} cannot be brought to one of {new}. Set --method.dense 0."
        )
    count = tokens.shape[1]
    if count != math.prod(old):
        old = (math.isqrt(count),) * 2
    if old == new:
        return tokens
    maps = tokens.transpose(1, 2).unflatten(2, old)
    return F.interpolate(maps, list(new), mode=_MODES[len(new)]).flatten(2).transpose(1, 2)
