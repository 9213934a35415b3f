"""What random views do to spectrograms, each held against a loop or against torch's own."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from manyviews.core import UsageError, settings
from manyviews.core.inputs import LogMel
from manyviews.core.sample import Unreadable, Window
from manyviews.data.direct import made, opened
from manyviews.views.audio import spectra
from manyviews.views.audio.sounds import Sounds, normal
from manyviews.views.draw import streams
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Mask

SOUND = LogMel(rate=8000, seconds=1.0, bins=20)
FRAMES, BINS = SOUND.shape[1:]
PLAN = spectra.Bending(
    frames=FRAMES, bins=BINS, mix=0.0, crop_time=(1.0, 1.0), crop_bands=(1.0, 1.0), canvas=1.5,
    mask_time=0.0, mask_bands=0.0,
)  # fmt: skip
ALONE = Sounds(around="", gain=0.0)


class Recording:
    """A wave of each sample; one of them cannot be read."""

    def __init__(self, index, *, broken=-1, span=4.0):
        self.index, self.broken, self.span, self.asked = index, broken, span, []

    def read(self, window):
        if self.index == self.broken:
            raise Unreadable(str(self.index), "broken")
        at = window.start + np.arange(window.count) * (window.stop - window.start) / window.count
        return np.sin(2 * np.pi * (200 + 100 * self.index) * at).astype(np.float32)


class Recordings:
    streams, stack = ("audio",), {}

    def __init__(self, count=6, **more):
        self.count, self.more = count, more

    def __len__(self):
        return self.count

    def open(self, index):
        return {"audio": Recording(index, **self.more)}


def batch(plan, index=(0, 1, 2, 3), *, epoch=0, seed=0, source=None, fed=SOUND, name="global"):
    """The finished views and cues of a batch."""
    pipeline = Pipeline({name: plan}, {"audio": Fed(fed, (6, 2))}, seed=seed)
    items, _ = opened(source or Recordings(), pipeline, list(index), epoch=epoch)
    views, cues = made(pipeline, items, epoch=epoch)
    tensors = {k: torch.from_numpy(v) for k, v in views.items()}
    hints = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in cues.items()}
    done = pipeline.finish(tensors, hints, torch.tensor(list(items)), torch.device("cpu"))
    return done.views[name], cues, views[name]


def numbers(**values):
    """[1, 1, COLUMNS]: a view's numbers that change nothing but what is given."""
    names = ("mix", "first", "frames", "low", "bands", "dark", "darks", "dark_low", "dark_bands")
    at = {"mix": 0, "first": 0, "frames": FRAMES, "low": 0, "bands": BINS} | dict.fromkeys(
        names[5:], 0
    )
    return torch.tensor([[[float((at | values)[name]) for name in names]]])


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("first", "frames", "low", "bands"),
    [(-25, 150, 0, 20), (10, 60, 3, 12), (-25, 80, 0, 15), (60, 65, 7, 13), (40, 1, 5, 1)],
)
def test_a_window_is_what_torch_cuts_out_of_the_canvas_and_interpolates(first, frames, low, bands):
    x = noise(1, 1, 1, FRAMES, BINS)
    plan = replace(PLAN, crop_time=(0.6, 1.5), crop_bands=(0.6, 1.5))
    given = numbers(first=first, frames=frames, low=low, bands=bands)
    got = spectra.changed(x, given, plan, std=1.0)
    canvas = F.pad(x[0], (0, 0, 25, 25))
    window = canvas[:, :, first + 25 : first + 25 + frames, low : low + bands]
    wanted = F.interpolate(window, size=(FRAMES, BINS), mode="bicubic", align_corners=True)
    torch.testing.assert_close(got[0], wanted, rtol=0, atol=1e-5)


def test_powers_are_added_when_two_spectrograms_are_mixed():
    fed = LogMel(rate=8000, seconds=1.0, bins=20, mean=-3.0, std=2.0)
    x = noise(1, 1, 2, 1, FRAMES, BINS)
    got = spectra.changed(x, numbers(mix=0.3), replace(PLAN, mix=0.4), std=fed.std)
    power = fed.restore(x.double()).exp()
    wanted = (0.7 * power[:, :, 0] + 0.3 * power[:, :, 1]).log()
    torch.testing.assert_close(fed.restore(got.double()), wanted, rtol=0, atol=1e-5)
    alone = spectra.changed(x, numbers(mix=0.0), replace(PLAN, mix=0.4), std=fed.std)
    torch.testing.assert_close(alone, x[:, :, 0])


def test_masked_frames_and_bands_are_the_datas_mean_and_no_others():
    x = noise(1, 1, 1, FRAMES, BINS)
    given = numbers(dark=10, darks=5, dark_low=3, dark_bands=4)
    got = spectra.changed(x, given, replace(PLAN, mask_time=0.1), std=1.0)
    wanted = x.clone()
    wanted[..., 10:15, :] = 0
    wanted[..., :, 3:7] = 0
    assert torch.equal(got, wanted)


def test_what_is_drawn_is_within_what_was_asked_for():
    plan = spectra.Bending(
        frames=96, bins=64, mix=0.4, crop_time=(0.6, 1.5), crop_bands=(0.6, 1.5), canvas=1.5,
        mask_time=0.2, mask_bands=0.3,
    )  # fmt: skip
    states = streams(seed=0, epoch=0, family=20, index=np.arange(20000), count=1)[:, 0]
    mix, first, frames, low, bands, dark, darks, dark_low, dark_bands = spectra.drawn(
        states, plan
    ).T
    assert (mix >= 0).all()
    assert (mix < 0.4).all()
    assert mix.mean() == pytest.approx(0.2, abs=0.01)
    assert frames.min() == 57
    assert frames.max() == 143
    assert (first >= -24).all()
    assert (first + frames <= 120).all()
    assert first[frames < 70].min() == -24
    assert (first + frames)[frames < 70].max() == 120
    assert bands.min() == 38
    assert bands.max() == 64
    assert np.mean(bands == 64) == pytest.approx(5 / 9, abs=0.03)  # shares above 1
    assert (low >= 0).all()
    assert (low + bands <= 64).all()
    assert set(darks) == set(range(20))
    assert (dark + darks <= 96).all()
    assert set(dark_bands) == set(range(20))
    assert (dark_low + dark_bands <= 64).all()


def test_a_sound_played_faster_is_as_much_higher():
    x, _, raw = batch(replace(ALONE, count=4, speed=0.5), index=(3,), fed=SOUND)
    del x
    hertz = [np.abs(np.fft.rfft(wave * np.hanning(8000))).argmax() for wave in raw[0]]
    assert 500 / 1.5 - 2 <= min(hertz) < max(hertz) <= 500 * 1.5 + 2
    assert len(set(hertz)) == 4


def test_a_rolled_wave_is_the_wave_turned_around_its_end():
    make = replace(ALONE, roll=1.0).maker("global", SOUND, (), seed=0)
    wave = np.arange(8000, dtype=np.float32)
    by = []
    for index in range(8):
        out = np.zeros((1, 8000), np.float32)
        make([wave], [Window(0.0, 1.0, 8000)], index, 0, out)
        by.append(int(out[0].argmin()))
        np.testing.assert_array_equal(out[0], np.roll(wave, by[-1]))
    assert len(set(by)) == 8


def test_noise_is_as_loud_as_it_says_white_and_of_the_view_alone():
    quiet = replace(ALONE, count=2, noise=1.0, snr=(10.0, 10.0))
    _, _, plain = batch(replace(ALONE, count=2))
    _, _, noisy = batch(quiet)
    added = noisy - plain
    level = 10 * np.log10((plain**2).mean(axis=-1) / (added**2).mean(axis=-1))
    np.testing.assert_allclose(level, 10.0, atol=0.3)
    rows = added.reshape(-1, added.shape[-1])
    assert np.abs(np.corrcoef(rows) - np.eye(len(rows))).max() < 0.05
    assert abs(np.corrcoef(rows[0][1:], rows[0][:-1])[0, 1]) < 0.05
    some, none = batch(replace(quiet, noise=0.5), index=range(6))[2], batch(quiet, range(6))[2]
    assert 0 < np.mean(np.all(some == none, axis=-1)) < 1


def test_normal_numbers_are_normal():
    state = streams(seed=0, epoch=0, family=20, index=np.array([5]), count=1)[0, 0]
    x = normal(state, 100_001)
    assert len(x) == 100_001
    assert abs(x.mean()) < 0.01
    assert abs(x.std() - 1) < 0.01
    assert np.mean(np.abs(x) > 1.96) == pytest.approx(0.05, abs=0.003)


def test_each_view_is_mixed_with_what_that_view_of_another_sample_would_be():
    plan = replace(ALONE, count=2, mix=0.4)
    _, _, raw = batch(plan, index=range(6))
    assert raw.shape == (6, 2, 2, 8000)
    own, other = raw[:, :, 0], raw[:, :, 1]
    partners = [
        [i for i in range(6) if np.array_equal(own[i, v], other[b, v])]
        for b in range(6)
        for v in range(2)
    ]
    assert all(len(found) == 1 for found in partners)
    assert all(found != [k // 2] for k, found in enumerate(partners))
    assert len({found[0] for found in partners}) > 2


def test_a_sample_whose_partner_cannot_be_read_is_mixed_with_itself():
    plan = replace(ALONE, mix=0.4)
    _, _, raw = batch(plan, index=(0,), source=Recordings(2, broken=1))
    np.testing.assert_array_equal(raw[0, 0, 0], raw[0, 0, 1])
    _, _, raw = batch(plan, index=(0,), source=Recordings(1))
    np.testing.assert_array_equal(raw[0, 0, 0], raw[0, 0, 1])


EVERYTHING = replace(
    ALONE, count=2, gain=0.5, speed=0.1, roll=0.5, noise=0.5, mix=0.4, crop_time=(0.6, 1.5),
    crop_bands=(0.6, 1.5), mask_time=0.2, mask_bands=0.2,
)  # fmt: skip


def test_views_depend_on_seed_epoch_sample_family_and_view_alone():
    x = batch(EVERYTHING)[0]
    assert x.shape == (4, 2, *SOUND.shape)
    assert torch.isfinite(x).all()
    torch.testing.assert_close(batch(EVERYTHING, (2, 0))[0], x[[2, 0]])
    torch.testing.assert_close(batch(replace(EVERYTHING, count=3))[0][:, :2], x)
    for changed in ({"seed": 1}, {"epoch": 1}, {"name": "other"}):
        assert not torch.isclose(batch(EVERYTHING, **changed)[0], x).all(dim=-1).any(dim=-1).all()
    assert not torch.allclose(x[:, 0], x[:, 1])


def test_masks_of_tokens_come_as_a_cue():
    plan = replace(ALONE, mask=Mask(ratio=0.5, kind="time"))
    _, cues, _ = batch(plan)
    hidden = cues["global.mask"].reshape(4, 6, 2)
    assert (hidden.sum(axis=(1, 2)) == 6).all()
    assert (hidden.all(axis=2) | ~hidden.any(axis=2)).all()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"mix": 0.4, "around": "video"}, "--mix is 0.4"),
        ({"crop_time": (1.2, 0.5)}, "--crop-time"),
        ({"snr": (9.0, 3.0)}, "--snr"),
        ({"canvas": 0.5}, "--canvas is 0.5"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_line(wrong, says):
    with pytest.raises(UsageError) as refused:
        settings.check(replace(ALONE, **wrong), "")
    assert says.replace("-time", "_time") in str(refused.value).replace("-time", "_time")
    assert "\n" not in str(refused.value)


def test_a_view_of_a_view_is_mixed_with_itself():
    make = replace(ALONE, mix=0.4).maker("global", SOUND, (), seed=0)
    wave = np.linspace(-1, 1, 8000, dtype=np.float32)
    out = np.zeros((1, 2, 8000), np.float32)
    make([wave], [Window(0.0, 1.0, 8000)], 0, 0, out)
    np.testing.assert_array_equal(out[0, 1], wave)


def test_nothing_is_drawn_for_spectrograms_that_stay_as_they_are():
    make = ALONE.maker("global", SOUND, (), seed=0)
    assert make.cues == {}
    assert not make.mixes
    assert make.late(SimpleNamespace(kept=True), {}).kept
