"""Random clips of a video: where each begins, and one crop and one set of colours for all of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.inputs import Frames, Input
from manyviews.core.ranges import Count, Natural, NotNegative, Probability, Range
from manyviews.core.sample import Floats, Layout, Window
from manyviews.views.draw import Draws, Words, draw, family, streams, unit
from manyviews.views.image.columns import columns
from manyviews.views.image.make import Cutter
from manyviews.views.masks import Masks, fits_masks
from manyviews.views.plan import Crops, Mask
from manyviews.views.video import flow

_START, _BAND = 64, 65
"""Elements of a view's stream of random numbers; those of `draw` come before them."""


Speed = Annotated[float, Range("a number from -16 to 16", -16, 16)]


@dataclass(frozen=True, kw_only=True)
class Clips:
    """A family of `count` clips of each video, each at a random time with a random crop.

    A clip is as long and has as many frames as its encoder is fed (`Frames`). It begins anywhere
    from the start of the video up to where it just fits, uniformly; in a shorter video at the
    start, and the last frame then stands. Clips of a video are drawn independently, or no farther
    from one another than `within`, or one after the other (`times`). Crop, flip, colours and blur
    are drawn once for a clip and are the same in each of its frames, but that contrast is around
    each frame's own mean. Operations and their order are those of `Crops`.

    To an encoder that is fed two channels a clip shows its optical flow (`views.video.flow`), for
    which one frame more is read, without changes of colour and without blur.

    The defaults are AVID's (facebookresearch/AVID-CMA, datasets/preprocessing.py, "msc+color").

    Attributes:
        to: the encoder that they are made for.
        of: the stream.
        count: clips of each video.
        within: seconds in which all clips of a video begin: 0 gives all the same time, -1 the
            whole video.
        times: "uniform" and independent, so that the distance of two clips has a density that falls
            linearly to 0 at the largest that there is room for; or "in-order", one after the other
            without overlap, where their number and the video's length allow that.
        speeds: view v is played at speed v of these, from the front again after the last: at 2
            it shows twice as many seconds, at -1 it runs backwards.
        size: side in pixels; 0 for the encoder's own.
        scale: area of the crop as a share of the frame, drawn uniformly.
        ratio: width over height of the crop, drawn log-uniformly.
        interpolation: both with antialiasing.
        flip: probability of a horizontal flip.
        jitter: probability of colour jitter.
        brightness: factor in [1-b, 1+b]; contrast, saturation too.
        hue: shift in [-h, h] of a full turn.
        grey: probability of greyscale.
        blur: probability of Gaussian blur.
        sigma: standard deviation of the blur in pixels, drawn uniformly.
        mask: tokens to hide, of clips that are as large as the encoder's input.
    """

    to: str = "video"
    of: str = "video"
    count: Count = 1
    within: Annotated[
        float, Range("0 or more seconds, or -1 for the whole video", 0, off=-1)
    ] = -1.0
    times: Literal["uniform", "in-order", "in-a-row"] = "uniform"
    alike: bool = False
    speeds: tuple[Speed, ...] = (1.0,)
    size: Natural = 0
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: Probability = 0.5
    jitter: Probability = 1.0
    brightness: NotNegative = 0.4
    contrast: NotNegative = 0.4
    saturation: NotNegative = 0.4
    hue: Annotated[float, Range("a share of a turn from 0 to 0.5", 0, 0.5)] = 0.2
    grey: Probability = 0.0
    blur: Probability = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)
    mask: Mask = field(default_factory=Mask)

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Pairs out of order, and a clip that stands still."""
        yield from Crops(scale=self.scale, ratio=self.ratio, sigma=self.sigma).wrong()
        if not self.speeds or 0 in self.speeds:
            yield "speeds", self.speeds, "one speed or more, none of them 0"

    @property
    def around(self) -> str:
        """Nothing: clips are cut around no other family."""
        return ""

    def alone(self) -> "Clips":
        """Unmasked, as large as the encoder is fed."""
        return replace(self, size=0, mask=Mask())

    def crops(self, side: int) -> Crops:
        """How the frames of each clip are cut out and coloured, to so many pixels."""
        return Crops(
            count=self.count,
            size=side,
            scale=self.scale,
            ratio=self.ratio,
            interpolation=self.interpolation,
            flip=self.flip,
            jitter=self.jitter,
            brightness=self.brightness,
            contrast=self.contrast,
            saturation=self.saturation,
            hue=self.hue,
            grey=self.grey,
            blur=(self.blur,),
            sigma=self.sigma,
        )

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "ClipMaker":
        """What makes the clips. Raises UsageError where the encoder is not fed video."""
        fed = fed_frames(name, self.to, input, flows=True)
        return ClipMaker(self, name, fed, grid, seed=seed)


class ClipMaker:
    """Makes the clips of one family, [V, T, S, S, C] uint8, and masks over the encoder's tokens."""

    def __init__(
        self, clips: Clips, name: str, frames: Frames, grid: tuple[int, ...], *, seed: int
    ) -> None:
        """Keep the plan; see `Clips.maker`."""
        side = clips.size or frames.side
        fits_masks(name, clips.mask, side=side, fed=frames.side)
        self._masks = Masks(clips.mask, name, grid, count=clips.count, seed=seed)
        self.cues: Mapping[str, Layout] = self._masks.cues
        shape = (frames.frames, side, side, frames.channels)
        self.layout = Layout(clips.count, shape, np.dtype(np.uint8))
        self._flows = frames.channels == flow.CHANNELS
        self._shown = flow.needed(frames)
        self._seed = seed
        self._family = family(name)
        self._clips = clips
        self._crops = clips.crops(side)
        if self._flows:
            off = (0.0,)
            self._crops = replace(self._crops, jitter=0.0, grey=0.0, blur=off, solarize=off)
        self._make = Cutter(self._crops, channels=3)

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """One window a clip, of `Frames.frames` frames, and one more of flow."""
        clips, frames = self._clips, self._shown
        states = self.states(index, epoch)
        lasts = np.array([abs(self._speed(v)) for v in range(clips.count)]) * frames.seconds
        room = np.maximum(0.0, span - lasts)
        if clips.times != "uniform":
            starts = _in_order(states, lasts, span, gaps=clips.times == "in-order")
        else:
            band = room if clips.within < 0 else np.minimum(clips.within, room)
            # All clips of a video begin in one band, which the first one's numbers place.
            starts = unit(states[:1], _BAND) * (room - band) + unit(states, _START) * band
        pairs = zip(starts.tolist(), lasts.tolist(), strict=True)
        return [Window(start, start + length, frames.frames) for start, length in pairs]

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, T, S, S, C] with views of V clips [T, H, W, 3]."""
        for view, clip in enumerate(decoded):
            height, width = clip.shape[1:3]
            draws = draw(
                self._crops,
                seed=self._seed,
                epoch=epoch,
                index=np.array([index]),
                heights=np.array([height]),
                widths=np.array([width]),
                family=self._family,
            )
            scratch = self._make.scratch(height, width)
            # To the makers of pictures a clip is a batch of pictures with one view each.
            alike = _repeat(draws, 0 if self._clips.alike else view, times=len(clip))
            shown = clip[::-1] if self._speed(view) < 0 else clip
            made = (
                np.empty((len(shown), *out.shape[2:4], 3), np.uint8) if self._flows else out[view]
            )
            self._make(columns(shown), alike, made[:, None], scratch)
            if self._flows:
                out[view] = flow.flow(made)
        masked = self._masks(np.array([index], dtype=np.int64), epoch)
        return {cue: made[0] for cue, made in masked.items()}

    def states(self, index: int, epoch: int) -> Words:
        """[V]: a stream of random numbers for each clip of a sample."""
        return streams(
            seed=self._seed,
            epoch=epoch,
            family=self._family,
            index=np.array([index]),
            count=self._clips.count,
        )[0]

    def _speed(self, view: int) -> float:
        speeds = self._clips.speeds
        return speeds[view % len(speeds)]


def fed_frames(name: str, to: str, input: Input, *, flows: bool = False) -> Frames:
    """The input of an encoder, if it is fed video in colour, or optical flow where that will do.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(input, Frames):
        message = (
            f"The family {name!r} makes clips of video, but the encoder {to!r} is fed "
            f"{type(input).__name__}. Make it for an encoder of video."
        )
        raise UsageError(message)
    if input.channels != 3 and not (flows and input.channels == flow.CHANNELS):
        wanted = (
            "videos have 3, their optical flow 2. Set 3 or 2" if flows else "videos have 3. Set 3"
        )
        message = f"The encoder {to!r} has {input.channels} channels; {wanted}."
        raise UsageError(message)
    return input


def _in_order(states: Words, lasts: Floats, span: float, *, gaps: bool) -> Floats:
    """[V] seconds: where clips of so many seconds begin, each after the end of the one before.

    What they leave of the span is divided at random, without gaps before and after them alone;
    where they leave nothing, they overlap alike.
    """
    before = np.cumsum(lasts) - lasts
    spare = span - lasts.sum()
    if spare >= 0:
        drawn = unit(states, _START)
        return before + (np.sort(drawn) if gaps else drawn[0]) * spare
    return before / max(before[-1], 1e-9) * max(0.0, span - lasts[-1])


def _repeat(draws: Draws, view: int, *, times: int) -> Draws:
    """The draws of one view of the first sample, [times, 1]."""
    return Draws(
        **{
            field.name: np.repeat(getattr(draws, field.name)[:1, view : view + 1], times, axis=0)
            for field in fields(draws)
        }
    )
