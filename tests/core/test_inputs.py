from pathlib import Path

import numpy as np
import pytest
import torch

from manyviews.core import UsageError, settings
from manyviews.core.inputs import Frames, LogMel, Pixels, normalise


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_pixels_are_normalised_as_plain_views_are(channels):
    raw = noise(2, 3, 8, 8, channels)
    means, stds = tuple(0.1 * (c + 1) for c in range(channels)), (0.25,) * channels
    entry = Pixels(side=8, channels=channels, mean=means, std=stds)
    made = entry.finish(raw)
    assert made.shape == (2, 3, *entry.shape)
    assert torch.equal(made, normalise(raw, means, stds))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (Pixels(channels=0), "--input.channels is 0"),
        (Pixels(side=0), "--input.side is 0"),
        (Pixels(channels=5), "--input.mean is 0.485 0.456 0.406; wanted one number for each of 5"),
        (Pixels(std=(0.5, 0.5)), "--input.std is 0.5 0.5; wanted one number for each of 3"),
        (Frames(channels=0), "--input.channels is 0"),
        (Frames(mean=(0.5, 0.5)), "--input.mean is 0.5 0.5; wanted one number for each of 3"),
    ],
)
def test_an_input_of_nothing_is_refused(entry, says):
    with pytest.raises(UsageError) as refused:
        settings.check(entry, "input.")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_restored_pixels_are_the_ones_that_were_finished():
    raw = noise(2, 3, 8, 8, 3)
    entry = Pixels(side=8)
    back = entry.restore(entry.finish(raw)).movedim(-3, -1)
    assert torch.equal((255 * back).round().to(torch.uint8), raw)


def test_restored_frames_are_the_ones_that_were_finished():
    raw = noise(2, 3, 4, 8, 8, 3)
    entry = Frames(side=8, frames=4)
    made = entry.finish(raw)
    assert made.shape == (2, 3, *entry.shape) == (2, 3, 3, 4, 8, 8)
    back = entry.restore(made).movedim(-4, -1)
    assert torch.equal((255 * back).round().to(torch.uint8), raw)


def test_each_frame_is_normalised_as_the_picture_it_is():
    raw = noise(4, 8, 8, 3)
    clip = Frames(side=8, frames=4).finish(raw)
    assert torch.equal(clip.movedim(1, 0), Pixels(side=8).finish(raw))


def test_the_seconds_of_a_clip_follow_from_its_frames_and_rate():
    assert Frames(frames=8, rate=16.0).seconds == 0.5


def test_log_mel_is_kaldis():
    # Made by torchaudio 2.11.1 (on torch 2.14.1) out of noise, 0.1 times default_rng(0)'s standard
    # normal numbers plus 0.05: torchaudio.compliance.kaldi.fbank at 16 kHz with dither 0, 128 bins,
    # the window "hanning", a shift of 10 ms and no energy.
    stored = np.load(Path(__file__).with_name("fbank.npz"))
    entry = LogMel(seconds=0.2)
    made = entry.restore(entry.finish(torch.from_numpy(stored["wave"])))
    assert made.shape == entry.shape == (1, 20, 128)
    whole = len(stored["bank"])  # the frames that lie in the wave; the last two overrun it
    assert whole == 18
    # 1e-4 where the Fourier transform rounds as it did there; elsewhere 1.6e-4 in 4 of 2304 places.
    np.testing.assert_allclose(made[0, :whole].numpy(), stored["bank"], rtol=0, atol=2e-4)


def test_log_mel_of_silence_is_the_floor_and_finite():
    entry = LogMel(seconds=0.1, mean=0.0, std=1.0)
    made = entry.finish(torch.zeros(2, 1, entry.samples))
    assert made.shape == (2, 1, 1, 10, 128)
    assert torch.all(made == np.float32(np.log(np.float32(1.1920929e-07))))


def test_log_mel_of_a_batch_is_that_of_each_wave():
    entry = LogMel(rate=8000, seconds=0.3, bins=20)
    waves = torch.randn(3, 2, entry.samples, generator=torch.Generator().manual_seed(0))
    made = entry.finish(waves)
    assert made.shape == (3, 2, 1, 30, 20)
    torch.testing.assert_close(made[2, 1], entry.finish(waves[2, 1]))


def test_log_mel_is_computed_in_float32_under_autocast():
    entry = LogMel(seconds=0.1)
    wave = torch.randn(entry.samples, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = entry.finish(wave)
    assert torch.equal(made, entry.finish(wave))


def test_a_tone_is_loudest_in_its_own_band():
    entry = LogMel(seconds=0.5, bins=40)
    time = torch.arange(entry.samples) / entry.rate
    made = entry.finish(torch.sin(2 * torch.pi * 1000 * time))[0]
    low, high = (1127 * np.log1p(hertz / 700) for hertz in (20, 8000))
    band = (1127 * np.log1p(1000 / 700) - low) / ((high - low) / 41) - 1
    assert abs(made[10].argmax().item() - band) <= 0.5
