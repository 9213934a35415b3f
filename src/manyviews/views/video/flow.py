"""Optical flow: how far what is seen in a frame moves until the next one."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from manyviews.core.inputs import Frames
from manyviews.core.sample import Bytes

CHANNELS = 2
"""Of an encoder that is fed flow: to the right, and down."""

_REACH = 20 / 224
"""The largest motion that is told apart, as a share of a frame's side: 20 pixels of 224."""


def flow(clip: Bytes) -> Bytes:
    """[T, S, S, 2] uint8 of a clip [T + 1, S, S, 3]: how far each pixel moves until the next frame.

    128 stands for no motion, 1 and 255 for 20 pixels of 224 and more, to the left or up, and to the
    right or down; 20 pixels are where Carreira and Zisserman (2017, arXiv:1705.07750) cut it too.
    By polynomial expansion (Farnebäck 2003), as OpenCV has it.
    """
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip]
    out = np.empty((len(clip) - 1, *clip.shape[1:3], CHANNELS), dtype=np.uint8)
    for row, before, after in zip(out, grey, grey[1:], strict=False):
        row[...] = _levels(_motion(before, after))
    return out


def needed(frames: Frames) -> Frames:
    """How many frames of how many seconds are decoded for a clip: of flow one more."""
    if frames.channels != CHANNELS:
        return frames
    return replace(frames, frames=frames.frames + 1)


def _motion(before: Bytes, after: Bytes) -> NDArray[np.float32]:
    """[S, S, 2] pixels from one grey frame [S, S] to the next."""
    start = np.zeros((*before.shape, CHANNELS), dtype=np.float32)
    return np.asarray(
        cv2.calcOpticalFlowFarneback(before, after, start, 0.5, 3, 13, 3, 5, 1.1, 0), np.float32
    )


def _levels(motion: NDArray[np.float32]) -> Bytes:
    """[S, S, 2] uint8 of pixels [S, S, 2]."""
    reach = np.float32(_REACH * len(motion))
    return np.rint(128 + 127 * np.clip(motion / reach, -1, 1)).astype(np.uint8)
