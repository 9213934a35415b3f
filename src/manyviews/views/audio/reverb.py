"""Echoes of a room, by convolution with a response of decaying noise."""

import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import Floats

_SIXTY = 3 * np.log(10)
"""Natural logarithm of the factor of amplitude by which 60 decibels are less."""


def response(noise: Floats, *, rate: int, decay: float) -> Floats:
    """What a room makes of a click: the click itself, and noise that dies away behind it.

    The echoes together have the energy of the click, as at the distance from a source where both
    are equally loud.

    Args:
        noise: [L] numbers of mean 0, of which the first stands for the click and is not looked at.
        rate: samples a second.
        decay: seconds in which the echoes fall by 60 decibels.

    Returns:
        [L] of energy 1, which begins with a positive number.

    Source: Polack 1993, "Playing billiards in the concert hall": a diffuse tail is Gaussian noise
    under an exponential.
    """
    tail = noise * np.exp(-_SIXTY / (decay * rate) * np.arange(len(noise)))
    energy = np.square(tail[1:]).sum()
    tail[0] = np.sqrt(energy) if energy else 1.0
    return tail / np.sqrt(np.square(tail).sum())


def convolved(wave: NDArray[np.float32], by: Floats) -> NDArray[np.float32]:
    """A wave [S] convolved with a response [L] by FFT, cut to S samples, with its own energy.

    Nothing is heard earlier than in the wave. Silence stays silent.
    """
    size = 1 << (len(wave) + len(by) - 2).bit_length()
    spectrum = np.fft.rfft(wave.astype(np.float64), size) * np.fft.rfft(by, size)
    made = np.fft.irfft(spectrum, size)[: len(wave)]
    before, after = (np.square(x, dtype=np.float64).sum() for x in (wave, made))
    return (made * np.sqrt(before / after) if after else made).astype(np.float32)
