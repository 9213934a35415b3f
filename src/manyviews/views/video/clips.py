"""Random clips of a video: where each begins, and one crop and one set of colours for all of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.inputs import Frames, Input
from manyviews.core.ranges import Count, Natural, NotNegative, Probability, Range
from manyviews.core.sample import Layout, Window
from manyviews.views.draw import Draws, draw, family, streams, unit
from manyviews.views.image.columns import columns
from manyviews.views.image.make import Cutter
from manyviews.views.plan import Crops

_START = 64
"""Element of a view's stream of random numbers; those of `draw` come before it."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """A family of `count` clips of each video, each at a random time with a random crop.

    A clip is as long and has as many frames as its encoder is fed (`Frames`). It begins anywhere
    from the start of the video up to where it just fits, uniformly; in a shorter video at the
    start, and the last frame then stands. Crop, flip, colours and blur are drawn once for a clip
    and are the same in each of its frames, but that contrast is around each frame's own mean.
    Operations and their order are those of `Crops`.

    The defaults are AVID's (facebookresearch/AVID-CMA, datasets/preprocessing.py, "msc+color").

    Attributes:
        to: the encoder that they are made for.
        of: the stream.
        count: clips of each video.
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
    """

    to: str = "video"
    of: str = "video"
    count: Count = 1
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

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Pairs out of order."""
        yield from Crops(scale=self.scale, ratio=self.ratio, sigma=self.sigma).wrong()

    @property
    def around(self) -> str:
        """Nothing: clips are cut around no other family."""
        return ""

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "ClipMaker":
        """What makes the clips. Raises UsageError where the encoder is not fed video."""
        return ClipMaker(self, name, fed_frames(name, self.to, input), seed=seed)


class ClipMaker:
    """Makes the clips of one family: [V, T, S, S, 3] uint8."""

    cues: Mapping[str, Layout] = {}

    def __init__(self, clips: Clips, name: str, frames: Frames, *, seed: int) -> None:
        """Keep the plan."""
        side = clips.size or frames.side
        self.layout = Layout(clips.count, (frames.frames, side, side, 3), np.dtype(np.uint8))
        self._frames = frames
        self._seed = seed
        self._family = family(name)
        self._crops = Crops(
            count=clips.count,
            size=side,
            scale=clips.scale,
            ratio=clips.ratio,
            interpolation=clips.interpolation,
            flip=clips.flip,
            jitter=clips.jitter,
            brightness=clips.brightness,
            contrast=clips.contrast,
            saturation=clips.saturation,
            hue=clips.hue,
            grey=clips.grey,
            blur=(clips.blur,),
            sigma=clips.sigma,
        )
        self._make = Cutter(self._crops, channels=3)

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """One window a clip, of `Frames.frames` frames."""
        states = streams(
            seed=self._seed,
            epoch=epoch,
            family=self._family,
            index=np.array([index]),
            count=self.layout.count,
        )
        seconds, frames = self._frames.seconds, self._frames.frames
        starts = unit(states, _START)[0] * max(0.0, span - seconds)
        return [Window(start, start + seconds, frames) for start in starts.tolist()]

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, T, S, S, 3] with views of V clips [T, H, W, 3]."""
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
            alike = _repeat(draws, view, times=len(clip))
            self._make(columns(clip), alike, out[view][:, None], scratch)
        return {}


def fed_frames(name: str, to: str, input: Input) -> Frames:
    """The input of an encoder, if it is fed video in colour.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(input, Frames):
        message = (
            f"The family {name!r} makes clips of video, but the encoder {to!r} is fed "
            f"{type(input).__name__}. Make it for an encoder of video."
        )
        raise UsageError(message)
    if input.channels != 3:
        message = f"The encoder {to!r} has {input.channels} channels; videos have 3. Set 3."
        raise UsageError(message)
    return input


def _repeat(draws: Draws, view: int, *, times: int) -> Draws:
    """The draws of one view of the first sample, [times, 1]."""
    return Draws(
        **{
            field.name: np.repeat(getattr(draws, field.name)[:1, view : view + 1], times, axis=0)
            for field in fields(draws)
        }
    )
