import numpy as np
import pytest
import torch

from manyviews.core import UsageError
from manyviews.core.inputs import Frames, LogMel
from manyviews.core.sample import Window
from manyviews.data.streams.files import open_streams
from manyviews.views.audio.plain import PlainSounds
from manyviews.views.audio.sounds import Sounds
from manyviews.views.video.clips import Clips
from manyviews.views.video.plain import PlainClips
from media import clicks, number, write

SOUND = LogMel(rate=8000, seconds=1.5)
HOP = SOUND.hop


def maker(sounds, *, input=SOUND, seed=0, name="audio"):
    return sounds.maker(name, input, (), seed=seed)


def clips(*starts):
    return [Window(start, start + 0.5, 8) for start in starts]


def made(make, *, index=0, epoch=0, around=(), span=10.0):
    windows = make.windows(index, epoch, span, around)
    out = np.zeros((make.layout.count, *make.layout.shape), make.layout.dtype)
    wave = np.linspace(-0.5, 0.5, SOUND.samples, dtype=np.float32)
    return out, make([wave] * len(windows), windows, index, epoch, out, around), windows


def test_sounds_have_the_layout_and_cue_that_are_promised():
    make = maker(Sounds(count=2))
    out, cues, _ = made(make, around=clips(1.0, 2.0))
    assert out.shape == (2, 12000)
    assert set(cues) == set(make.cues) == {"offset"}
    layout = make.cues["offset"]
    assert cues["offset"].shape == (layout.count, *layout.shape) == (2,)
    assert cues["offset"].dtype == layout.dtype == np.float32
    alone = maker(Sounds(count=2, around=""))
    assert not alone.cues
    assert not made(alone)[1]


def test_sounds_begin_within_the_offset_of_their_clips():
    make, around = maker(Sounds(count=2, offset=0.5)), clips(3.0, 6.0)
    late = []
    for index in range(400):
        _, cues, windows = made(make, index=index, around=around)
        wanted = [own.start - clip.start for own, clip in zip(windows, around, strict=True)]
        np.testing.assert_allclose(cues["offset"], wanted, atol=1e-6)
        late.append(cues["offset"])
        assert all(w.count == 12000 and w.stop - w.start == pytest.approx(1.5) for w in windows)
    quarters = np.quantile(late, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quarters, [-0.5, -0.25, 0, 0.25, 0.5], atol=0.05)


def test_a_lead_has_the_clip_begin_so_much_later_in_its_sound():
    centred = maker(Sounds(count=2, offset=0.0, lead=0.75))
    _, cues, windows = made(centred, around=clips(3.0, 0.5))
    assert [w.start for w in windows] == [2.25, 0.0]  # before the file there is nothing
    np.testing.assert_allclose(cues["offset"], [-0.75, -0.5])
    near = maker(Sounds(offset=0.1, lead=0.75))
    starts = [near.windows(i, 0, 10.0, clips(3.0))[0].start for i in range(200)]
    assert min(starts) >= 2.15
    assert max(starts) <= 2.35
    assert np.ptp(starts) > 0.15


def test_sounds_stay_inside_the_file():
    make = maker(Sounds(count=3))
    for index in range(50):
        _, cues, windows = made(make, index=index, around=clips(0.1, 8.2, 9.5), span=10.0)
        assert all(w.start >= 0 and w.stop <= 10.0 + 1e-9 for w in windows)
        assert windows[2].start == 8.5  # no whole second and a half is nearer to 9.5 than this
        assert cues["offset"][2] == -1.0
    assert made(make, around=clips(0.0, 0.1, 0.2), span=0.7)[2] == [Window(0.0, 1.5, 12000)] * 3


def test_sounds_alone_begin_anywhere_that_they_fit():
    make = maker(Sounds(count=2, around=""))
    starts = [w.start for index in range(400) for w in make.windows(index, 0, 10.0)]
    np.testing.assert_allclose(np.quantile(starts, [0, 0.5, 1]), [0, 4.25, 8.5], atol=0.35)


def test_gain_is_one_factor_for_a_piece_within_its_range():
    make = maker(Sounds(count=2, around="", gain=0.1))
    wave = np.linspace(-0.5, 0.5, SOUND.samples, dtype=np.float32)
    factors = []
    for index in range(300):
        for row in made(make, index=index)[0]:
            factors.append(row[0] / wave[0])
            np.testing.assert_allclose(row, wave * factors[-1], rtol=1e-5)
    np.testing.assert_allclose(np.quantile(factors, [0, 0.5, 1]), [0.9, 1.0, 1.1], atol=0.02)
    assert np.array_equal(made(maker(Sounds(around="", gain=0.0)))[0][0], wave)


def test_sounds_are_a_function_of_seed_epoch_index_and_view():
    four, around = maker(Sounds(count=4)), clips(1.0, 2.0, 3.0, 4.0)

    def all_of(make, around=around, **at):
        out, cues, windows = made(make, around=around, **at)
        return np.concatenate(([w.start for w in windows], cues["offset"], out.ravel()))

    first = all_of(four, index=5, epoch=1)
    assert np.array_equal(all_of(four, index=5, epoch=1), first)
    two = maker(Sounds(count=2))
    assert two.windows(5, 1, 10.0, around[:2]) == four.windows(5, 1, 10.0, around)[:2]
    out, _, _ = made(two, index=5, epoch=1, around=around[:2])
    assert np.array_equal(out, made(four, index=5, epoch=1, around=around)[0][:2])
    for other in (
        all_of(four, index=6, epoch=1),
        all_of(four, index=5, epoch=2),
        all_of(maker(Sounds(count=4), seed=1), index=5, epoch=1),
        all_of(maker(Sounds(count=4), name="other"), index=5, epoch=1),
    ):
        assert not np.array_equal(other, first)


@pytest.mark.parametrize("family", [Sounds(count=2), PlainSounds(count=2)])
def test_there_are_as_many_pieces_as_clips(family):
    for around in (clips(1.0), (), clips(1.0, 2.0, 3.0)):
        with pytest.raises(UsageError, match=rf"which has {len(around)}"):
            maker(family).windows(0, 0, 10.0, around)


@pytest.mark.parametrize("family", [Sounds(), PlainSounds()])
def test_encoders_that_are_not_fed_sound_are_refused(family):
    with pytest.raises(UsageError, match="is fed Frames"):
        maker(family, input=Frames())


def test_plain_sounds_have_the_middles_of_their_clips():
    make = maker(PlainSounds(count=3))
    out, cues, windows = made(make, around=clips(3.0, 0.0, 9.5))
    assert [w.start for w in windows] == [2.5, 0.0, 8.5]
    np.testing.assert_allclose(cues["offset"], [-0.5, 0.0, -1.0])
    assert np.array_equal(out[0], np.linspace(-0.5, 0.5, SOUND.samples, dtype=np.float32))
    alone = maker(PlainSounds(count=2, around=""))
    assert [w.start for w in alone.windows(0, 0, 5.5)] == [1.0, 3.0]


RATE, LENGTH = 200, 6.0
"""Frames a second of the counting video, so that its numbers tell the time to 5 ms."""

FILES = {"PCM": ("count.mov", "pcm_s16le"), "AAC": ("count.mp4", "aac")}


@pytest.fixture(scope="module", params=FILES)
def counting(request, tmp_path_factory):
    """Frames that show their number, and clicks at each half second, each louder than the last.

    So pictures and sound both tell on their own what time it is.
    """
    name, sound = FILES[request.param]
    half_seconds = np.arange(0.5, LENGTH, 0.5)
    wave = clicks(half_seconds, seconds=LENGTH, rate=8000, levels=0.08 * 2 * half_seconds)
    times = [k / RATE for k in range(int(RATE * LENGTH))]
    path = tmp_path_factory.mktemp("counting") / name
    return write(path, times=times, wave=wave, rate=8000, sound=sound, size=(48, 48))


def seen(clip) -> float:
    """When a clip of the counting file begins, from its first picture alone."""
    return (number(clip[0]) + 0.5) / RATE


def heard(wave, *, rate=8000) -> float:
    """When a piece of the counting file begins, from its sound alone."""
    peaks = np.abs(wave)
    at = int(peaks.argmax())
    return round(peaks[at] / 0.08) / 2 - at / rate


@pytest.mark.parametrize("plain", [False, True])
def test_row_v_of_the_sound_belongs_to_row_v_of_the_video(plain, counting):
    """Pictures and sound of a view are of the same moment, to within one hop of 10 ms."""
    look = Frames(side=48, frames=4, rate=16.0)
    if plain:
        families = PlainClips(count=3), PlainSounds(count=3)
    else:
        as_it_is = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "jitter": 0.0}
        families = Clips(count=3, **as_it_is), Sounds(count=3, gain=0.0)
    pictures = families[0].maker("video", look, (), seed=0)
    sounds = families[1].maker("audio", SOUND, (), seed=0)
    streams = open_streams(counting)
    apart = []
    for index in range(1 if plain else 8):
        around = pictures.windows(index, 0, streams["video"].span)
        windows = sounds.windows(index, 0, streams["audio"].span, around)
        video = np.zeros((3, *pictures.layout.shape), np.uint8)
        audio = np.zeros((3, *sounds.layout.shape), np.float32)
        pictures([streams["video"].read(w) for w in around], around, index, 0, video)
        decoded = [streams["audio"].read(w) for w in windows]
        cues = sounds(decoded, windows, index, 0, audio, around)
        for row in range(3):
            late = heard(audio[row]) - seen(video[row])
            assert abs(late - cues["offset"][row]) < HOP
            apart.append(late)
    assert plain or np.std(apart) > 0.1  # the offsets were not all nought


def test_a_click_is_in_the_row_of_the_log_mel_that_its_time_says(counting):
    wave = open_streams(counting)["audio"].read(Window(2.25, 3.75, SOUND.samples))
    made = SOUND.restore(SOUND.finish(torch.from_numpy(wave)))[0]
    loudest = made.mean(dim=1).argmax().item() * HOP + SOUND.window / 2
    assert abs(loudest - 1.25) < 0.02  # of 2.5, 3.0 and 3.5 s the last is the loudest
