"""What random views do to spectrograms on the device: mixtures, windows of them, masked bands.

The numbers are drawn beside the waves, where everything is (`views.audio.sounds`), and come along
as one cue; here they are only carried out.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core.sample import Floats
from manyviews.views.draw import Words, unit

COLUMNS = 9
"""Numbers of a view: a weight, the window's first frame and its frames, first band and its bands,
the masked frames' first and number, the masked bands' first and number."""

_MIX, _FRAMES, _FIRST_FRAME, _BANDS, _FIRST_BAND = 72, 73, 74, 75, 76
_DARK_FRAMES, _FIRST_DARK, _DARK_BANDS, _FIRST_DARK_BAND = 77, 78, 79, 80
"""Elements of a view's stream of random numbers."""

_CUBIC = -0.75
"""The kernel of torch's and OpenCV's bicubic interpolation."""


@dataclass(frozen=True)
class Bending:
    """What is drawn; as the fields of `views.audio.sounds.Sounds`, for spectrograms [F, bins]."""

    frames: int
    bins: int
    mix: float
    crop_time: tuple[float, float]
    crop_bands: tuple[float, float]
    canvas: float
    mask_time: float
    mask_bands: float

    @property
    def changes(self) -> bool:
        """Whether anything is done at all."""
        whole = self.crop_time == self.crop_bands == (1.0, 1.0)
        return not whole or max(self.mix, self.mask_time, self.mask_bands) > 0


def drawn(states: Words, plan: Bending) -> NDArray[np.float32]:
    """[V, COLUMNS] of streams [V]."""
    wide = max(plan.frames, int(plan.frames * plan.canvas))
    frames = _size(unit(states, _FRAMES), plan.crop_time, plan.frames, wide)
    bands = _size(unit(states, _BANDS), plan.crop_bands, plan.bins, plan.bins)
    margin = (wide - plan.frames) // 2
    dark_frames = np.floor(unit(states, _DARK_FRAMES) * plan.mask_time * plan.frames)
    dark_bands = np.floor(unit(states, _DARK_BANDS) * plan.mask_bands * plan.bins)
    columns = [
        unit(states, _MIX) * plan.mix,
        np.floor(unit(states, _FIRST_FRAME) * (wide - frames + 1)) - margin,
        frames,
        np.floor(unit(states, _FIRST_BAND) * (plan.bins - bands + 1)),
        bands,
        np.floor(unit(states, _FIRST_DARK) * (plan.frames - dark_frames + 1)),
        dark_frames,
        np.floor(unit(states, _FIRST_DARK_BAND) * (plan.bins - dark_bands + 1)),
        dark_bands,
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _size(u: Floats, share: tuple[float, float], whole: int, most: int) -> Floats:
    return np.clip(np.floor((share[0] + (share[1] - share[0]) * u) * whole), 1, most)


def changed(x: Tensor, numbers: Tensor, plan: Bending, *, std: float) -> Tensor:
    """Normalised spectrograms as their numbers say.

    Mixing adds powers: log((1 - a) e^x + a e^y), of what x and y are before they are normalised
    (Niizumi et al. 2021, BYOL-A, arXiv:2103.06695, equation 2). A window is cut out of a canvas of
    zeros, the mean of the data, with the spectrogram in its middle, and brought to the size of
    the spectrogram by bicubic interpolation with corners on corners (section III-C). What is
    masked is 0 as well.

    Args:
        x: [B, V, 1, F, bins], or with a partner [B, V, 2, 1, F, bins].
        numbers: [B, V, COLUMNS].
        plan: what was drawn.
        std: that x was divided by.
    """
    weight, first, frames, low, bands, *dark = (
        numbers.to(x)[..., None, None, None].movedim(2, 0).unbind(0)
    )
    if plan.mix:
        own, other = x.unbind(2)
        x = torch.logaddexp(own * std + (1 - weight).log(), other * std + weight.log()) / std
    if plan.crop_time != (1.0, 1.0) or plan.crop_bands != (1.0, 1.0):
        rows = resizing(first[..., 0], frames[..., 0], plan.frames)
        columns = resizing(low[..., 0], bands[..., 0], plan.bins)
        with torch.autocast(x.device.type, enabled=False):
            x = rows.to(x.dtype) @ x @ columns.to(x.dtype).transpose(-1, -2)
    time = torch.arange(plan.frames, device=x.device)[:, None]
    band = torch.arange(plan.bins, device=x.device)
    hidden = (time >= dark[0]) & (time < dark[0] + dark[1])
    hidden = hidden | ((band >= dark[2]) & (band < dark[2] + dark[3]))
    return x.masked_fill(hidden, 0.0)


def resizing(first: Tensor, size: Tensor, count: int) -> Tensor:
    """Matrices that bring `size` places from `first` on to `count` places: [..., count, count].

    Bicubic, corners on corners, the window's edge repeated beyond it as torch's `interpolate` does;
    what lies outside of the `count` places that there are is 0.

    Args:
        first: [..., 1], whole numbers, below 0 where the window begins before the first place.
        size: [..., 1], whole numbers, 1 or more.
        count: of places.
    """
    at = torch.arange(count, device=first.device) * ((size - 1) / max(1, count - 1))
    base = at.floor()
    out = at.new_zeros(*at.shape, count)
    for tap in range(-1, 3):
        place = torch.minimum((base + tap).clamp(min=0), size - 1) + first
        inside = (place >= 0) & (place < count)
        weight = _cubic((at - base - tap).abs()) * inside
        out.scatter_add_(-1, place.clamp(0, count - 1).long()[..., None], weight[..., None])
    return out


def _cubic(distance: Tensor) -> Tensor:
    """The kernel by distance, 0 from 2 on."""
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * _CUBIC - 4 * _CUBIC
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
