"""Frames of a video by their number, decoded by torchcodec where that is installed.

Asked for a time, torchcodec gives the frame whose own duration covers it, and in files that count
in milliseconds or whose rate varies that is often the one before. So it is asked for numbers alone,
and what it says of their times is held against the times that were meant.
"""

import functools
import importlib
import importlib.util
import logging
import multiprocessing
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger("manyviews")

_NEAR = 1e-6
"""Seconds between two ways to say one time."""


class Numbered:
    """A file's frames, counted as they are shown; opened when the first is asked for."""

    def __init__(self, path: str, stream: int, times: NDArray[np.float64]) -> None:
        """Nothing is read yet.

        Args:
            path: of the file.
            stream: which of all its streams.
            times: [T] of all frames, in seconds on the file's own clock, ascending.
        """
        self._path, self._stream, self._times = path, stream, times
        self._decoder: Any = None
        self._fits = True

    def frames(self, numbers: Sequence[int]) -> NDArray[np.uint8] | None:
        """[len(numbers), H, W, 3], upright; None where torchcodec cannot, or sees other frames."""
        if not self._fits:
            return None
        try:
            if self._decoder is None:
                decoders: Any = importlib.import_module("torchcodec.decoders")
                self._decoder = decoders.VideoDecoder(
                    self._path, stream_index=self._stream, dimension_order="NHWC"
                )
            found = self._decoder.get_frames_at(list(numbers))
        except (RuntimeError, ValueError, IndexError):
            self._fits = False
            return None
        off = np.abs(found.pts_seconds.numpy() - self._times[list(numbers)])
        self._fits = bool(off.max() < _NEAR)
        return found.data.numpy() if self._fits else None


@functools.cache
def why_not() -> str | None:
    """Why torchcodec does not decode videos: "" where it is not installed; None where it does."""
    if importlib.util.find_spec("torchcodec") is None:
        return ""
    try:
        importlib.import_module("torchcodec.decoders")
    except (ImportError, OSError, RuntimeError):  # it lacks FFmpeg, or fits another torch
        return "torchcodec is installed and does not load: it wants FFmpeg, and its own torch"
    return None


@functools.cache
def say_decoder() -> None:
    """Log what decodes videos here, once, and not from workers."""
    if multiprocessing.parent_process() is not None:
        return
    reason = why_not()
    which = "torchcodec" if reason is None else f"PyAV ({reason})" if reason else "PyAV"
    log.info("videos are decoded by %s", which)
