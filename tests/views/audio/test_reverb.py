"""Echoes, held against a convolution term by term and against the decay that was asked for."""

import numpy as np
import pytest

from manyviews.core import UsageError, settings
from manyviews.core.inputs import LogMel
from manyviews.core.sample import Window
from manyviews.views.audio.reverb import convolved, response
from manyviews.views.audio.sounds import Sounds

RATE = 8000
SOUND = LogMel(rate=RATE, seconds=1.0)


def noise(seed=0, count=RATE):
    return np.random.default_rng(seed).standard_normal(count)


def heard(plan, wave, *, index=0, epoch=0, seed=0, name="global"):
    """What becomes of a wave, view by view."""
    make = plan.maker(name, SOUND, (), seed=seed)
    out = np.zeros((plan.count, len(wave)), np.float32)
    windows = [Window(0.0, 1.0, len(wave))] * plan.count
    make([wave] * plan.count, windows, index, epoch, out)
    return out


def plan(**more):
    return Sounds(**{"around": "", "gain": 0.0, "reverb": 1.0} | more)


def click(at=0, level=0.5):
    wave = np.zeros(RATE, np.float32)
    wave[at] = level
    return wave


@pytest.mark.parametrize("length", [1, 7, 40])
def test_a_wave_is_convolved_term_by_term(length):
    wave, by = noise(1, 33).astype(np.float32), noise(2, length)
    wanted = np.array(
        [sum(by[k] * wave[t - k] for k in range(min(t + 1, length))) for t in range(33)]
    )
    wanted *= np.sqrt(np.square(wave, dtype=np.float64).sum() / np.square(wanted).sum())
    np.testing.assert_allclose(convolved(wave, by), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decay", [0.2, 0.5])
def test_echoes_fall_by_sixty_decibels_in_the_time_that_was_asked_for(decay):
    """Schroeder's curve: the energy still to come, averaged over rooms, is a straight line."""
    energy = sum(np.square(response(noise(k), rate=RATE, decay=decay))[1:] for k in range(40))
    rest = 10 * np.log10(energy[::-1].cumsum()[::-1])
    time = np.arange(len(rest)) / RATE
    upper = time < decay / 2  # where what was cut off at the end does not matter
    slope = np.polyfit(time[upper], rest[upper], 1)[0]
    assert -60 / slope == pytest.approx(decay, rel=0.05)


def test_echoes_together_are_as_loud_as_the_sound_itself():
    made = response(noise(), rate=RATE, decay=0.3)
    assert made[0] ** 2 == pytest.approx(0.5)
    assert np.square(made[1:]).sum() == pytest.approx(0.5)
    np.testing.assert_array_equal(response(noise(count=1), rate=RATE, decay=0.3), [1.0])


def test_a_piece_keeps_its_energy_and_begins_when_it_did():
    out = heard(plan(count=2), click(at=3000))
    assert not np.abs(out[:, :3000]).max() > 1e-6
    assert (np.abs(out).argmax(axis=1) == 3000).all()
    np.testing.assert_allclose(np.square(out, dtype=np.float64).sum(axis=1), 0.25, rtol=1e-5)
    assert np.abs(out[:, 3001:3800]).max() > 0.005
    assert not heard(plan(), np.zeros(RATE, np.float32)).any()


def test_rooms_differ_by_view_sample_epoch_seed_and_family_and_by_nothing_else():
    two = heard(plan(count=2), click())
    assert np.array_equal(heard(plan(count=3), click())[:2], two)
    assert not np.array_equal(two[0], two[1])
    for other in ({"index": 1}, {"epoch": 1}, {"seed": 1}, {"name": "other"}):
        assert not np.array_equal(heard(plan(count=2), click(), **other)[0], two[0])


def test_the_noise_beside_echoes_is_another():
    long = {"decay": (1.0, 1.0)}
    echoes = heard(plan(**long), click())[0].astype(np.float64)
    noisy = heard(plan(noise=1.0, snr=(0.0, 0.0), **long), click())[0]
    hiss = (noisy - echoes)[1:]
    drawn = echoes[1:] * np.exp(3 * np.log(10) / RATE * np.arange(1, RATE))
    assert np.std(hiss) > 1e-4
    assert abs(np.corrcoef(hiss, drawn)[0, 1]) < 0.05


def test_as_many_pieces_have_echoes_as_was_asked_and_decays_are_drawn_from_the_range():
    some = [heard(plan(reverb=0.3), click(), index=i)[0] for i in range(300)]
    assert np.mean([np.abs(x[1:]).max() > 0 for x in some]) == pytest.approx(0.3, abs=0.08)

    def half(x):  # seconds until half of the echoes' energy has passed
        sums = np.square(x[1:], dtype=np.float64).cumsum()
        return np.searchsorted(sums, sums[-1] / 2) / RATE

    short = [half(heard(plan(decay=(0.1, 0.1)), click(), index=i)[0]) for i in range(60)]
    both = [half(heard(plan(decay=(0.1, 0.6)), click(), index=i)[0]) for i in range(60)]
    per_decay = np.log(2) / (6 * np.log(10))
    assert np.mean(short) == pytest.approx(0.1 * per_decay, rel=0.1)
    assert np.mean(both) == pytest.approx(0.35 * per_decay, rel=0.2)
    assert np.ptp(both) > 3 * np.ptp(short)


def test_noise_comes_after_the_room():
    """Silence with a click: what hisses between is not the click's echo but evenly loud."""
    noisy = plan(noise=1.0, snr=(20.0, 20.0), decay=(0.1, 0.1))
    out = heard(noisy, click(at=0))[0].astype(np.float64)
    early, late = (np.square(out[a : a + 2000]).mean() for a in (3000, 6000))
    assert early == pytest.approx(late, rel=0.2)


def test_decays_that_are_none_are_refused():
    for wrong in ((0.0, 0.5), (0.8, 0.2)):
        with pytest.raises(UsageError, match=r"--decay is .* wanted seconds with 0 < low <= high"):
            settings.check(plan(decay=wrong), "")
    with pytest.raises(UsageError, match=r"--reverb is 1\.5; wanted"):
        settings.check(plan(reverb=1.5), "")
