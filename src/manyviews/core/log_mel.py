"""Logarithms of the power in mel bands over time, of many waves at once: Kaldi's filter banks.

What bounds this on processors is memory, so that waves are taken a few at a time, each step writes
where the step before did, and bands are summed over the bins that they reach alone.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_PRE_EMPHASIS = 0.97
_LOWEST = 20.0
"""Hertz at which the first mel band begins."""
_LEAST = 1.1920928955078125e-07
"""What power is at least, before its logarithm: torchaudio's epsilon, that of float32."""
_FRAMES = 1024
"""At a time on processors: 2 MB, which stay in a core's cache."""
_GROUP = 16
"""Bands that are summed over the same bins; the lowest reach few, the highest many."""


def log_mel(waves: Tensor, *, rate: int, frames: int, hop: int, width: int, bins: int) -> Tensor:
    """[..., frames, bins] float32 of waves [..., S] in [-1, 1], also under autocast.

    Args:
        waves: as long as they are; zeros follow where frames overrun them.
        rate: samples a second.
        frames: how many.
        hop: samples from one frame to the next.
        width: samples in a frame.
        bins: mel bands.
    """
    spare = (frames - 1) * hop + width - waves.shape[-1]
    flat = F.pad(waves.float(), (0, max(0, spare))).reshape(-1, waves.shape[-1] + max(0, spare))
    many = max(1, _FRAMES // frames) if waves.device.type == "cpu" else max(1, len(flat))
    with torch.autocast(waves.device.type, enabled=False):
        made = [_some(x, rate, frames, hop, width, bins) for x in flat.split(many)]
    return torch.cat(made).reshape(*waves.shape[:-1], frames, bins)


def _some(waves: Tensor, rate: int, frames: int, hop: int, width: int, bins: int) -> Tensor:
    """[B, frames, bins] of [B, S].

    Kaldi takes a frame's mean m away and then emphasises: x_t - m - 0.97 (x_(t - 1) - m), which is
    the emphasised wave less 0.03 m, so that the wave is emphasised once and not in every frame that
    overlaps. Only at a frame's first sample that is another number, and the window is 0 there.
    """
    size = 1 << (width - 1).bit_length()
    means = waves.unfold(-1, width, hop)[:, :frames].mean(dim=-1, keepdim=True)
    steep = torch.cat((waves[:, :1], waves[:, 1:] - _PRE_EMPHASIS * waves[:, :-1]), dim=1)
    x = waves.new_zeros(len(waves), frames, size)
    inside = x[..., :width]
    torch.sub(steep.unfold(-1, width, hop)[:, :frames], (1 - _PRE_EMPHASIS) * means, out=inside)
    inside *= _hann(width, waves.device)
    spectrum = torch.fft.rfft(x)
    power = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
    bands = [
        power[..., low:high] @ weights
        for low, high, weights in _bands(rate, size, bins, waves.device)
    ]
    return torch.cat(bands, dim=-1).clamp_(min=_LEAST).log_()


@lru_cache(maxsize=8)
def _hann(width: int, device: torch.device) -> Tensor:
    """[width]: symmetric, as Kaldi's "hanning"."""
    return torch.hann_window(width, periodic=False, device=device)


@lru_cache(maxsize=8)
def _bands(rate: int, size: int, bins: int, device: torch.device) -> list[tuple[int, int, Tensor]]:
    """Of groups of mel bands: the first bin that is reached, the one behind the last, weights."""
    weights, found = _triangles(rate, size, bins), []
    for first in range(0, bins, _GROUP):
        part = weights[:, first : first + _GROUP]
        reached = np.flatnonzero(part.any(axis=1))
        low, high = (int(reached[0]), int(reached[-1]) + 1) if len(reached) else (0, 1)
        found.append((low, high, torch.from_numpy(part[low:high].copy()).to(device)))
    return found


def _triangles(rate: int, size: int, bins: int) -> np.ndarray:
    """[size / 2 + 1, bins] float32: weights of mel bands over the bins of an FFT.

    Straight in mel, not in Hz, and without normalisation of their areas; the bin at half the rate
    counts nowhere.
    """
    mel = 1127 * np.log1p(np.arange(size // 2) * rate / size / 700)
    low, high = 1127 * np.log1p(np.array((_LOWEST, rate / 2)) / 700)
    step = (high - low) / (bins + 1)
    # In units of half a triangle's base, from where each begins.
    at = (mel[:, None] - low) / step - np.arange(bins)
    weights = np.zeros((size // 2 + 1, bins), dtype=np.float32)
    weights[:-1] = np.maximum(0, np.minimum(at, 2 - at))
    return weights
