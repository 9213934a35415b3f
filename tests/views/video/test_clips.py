import zlib

import numpy as np
import pytest
import torch

from manyviews.core import UsageError
from manyviews.core.inputs import Frames, LogMel, Pixels
from manyviews.core.sample import Window
from manyviews.data.streams.files import open_streams
from manyviews.views.draw import draw
from manyviews.views.image.make import make as pictures
from manyviews.views.image.plain import Plain
from manyviews.views.plan import Crops
from manyviews.views.video.clips import Clips
from manyviews.views.video.plain import PlainClips
from media import number, write

FRAMES = Frames(side=24, frames=4, rate=8.0)
AS_IT_IS = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "jitter": 0.0}


def maker(clips, *, input=FRAMES, seed=0, name="video"):
    return clips.maker(name, input, (), seed=seed)


def made(make, *, index=0, epoch=0, clips=None):
    windows = make.windows(index, epoch, 10.0)
    out = np.zeros((make.layout.count, *make.layout.shape), make.layout.dtype)
    clips = [noise()] * len(windows) if clips is None else clips
    assert not make(clips, windows, index, epoch, out)
    return out


def noise(frames=4, height=40, width=50):
    shape = (frames, height, width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def still(frames=4, height=40, width=50):
    return np.repeat(noise(1, height, width), frames, axis=0)


def test_clips_have_the_layout_that_is_promised():
    assert made(maker(Clips(count=3))).shape == (3, 4, 24, 24, 3)
    assert maker(Clips(count=2, size=16)).layout.shape == (4, 16, 16, 3)


def test_clips_begin_anywhere_that_they_fit_and_nowhere_else():
    make = maker(Clips(count=2))
    windows = [w for index in range(500) for w in make.windows(index, 0, 3.0)]
    starts = np.array([w.start for w in windows])
    assert {w.count for w in windows} == {4}
    np.testing.assert_allclose([w.stop - w.start for w in windows], 0.5)
    assert starts.min() >= 0
    assert starts.max() <= 2.5
    np.testing.assert_allclose(
        np.quantile(starts / 2.5, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.04
    )


def test_a_video_shorter_than_a_clip_is_taken_from_its_start():
    assert maker(Clips()).windows(7, 3, 0.2) == [Window(0.0, 0.5, 4)]


def test_clips_are_a_function_of_seed_epoch_index_and_view():
    two, four = maker(Clips(count=2)), maker(Clips(count=4))
    first = made(four, index=5, epoch=1)
    assert np.array_equal(made(four, index=5, epoch=1), first)
    assert four.windows(5, 1, 9.0)[:2] == two.windows(5, 1, 9.0)
    assert np.array_equal(made(two, index=5, epoch=1), first[:2])  # more views change none
    others = [
        made(four, index=6, epoch=1),
        made(four, index=5, epoch=2),
        made(maker(Clips(count=4), seed=1), index=5, epoch=1),
        made(maker(Clips(count=4), name="other"), index=5, epoch=1),
    ]
    for other in others:
        assert not np.array_equal(other, first)


def test_every_frame_of_a_clip_has_the_same_crop_and_colours():
    make = maker(Clips(count=3, grey=0.5, blur=0.5))
    for clip in made(make, clips=[still()] * 3):
        assert all(np.array_equal(frame, clip[0]) for frame in clip)
        assert clip[0].std() > 0
    first, second, _ = made(make, clips=[still()] * 3)
    assert not np.array_equal(first, second)


def test_frames_are_cropped_and_coloured_as_pictures_are():
    make, clip = maker(Clips(count=2)), noise()
    got = made(make, index=3, epoch=2, clips=[clip, clip])
    crops = Crops(count=2, size=24, jitter=1.0, hue=0.2, grey=0.0, blur=(0.0,))
    for k, frame in enumerate(clip):
        draws = draw(
            crops,
            seed=0,
            epoch=2,
            index=np.array([3]),
            heights=np.array([40]),
            widths=np.array([50]),
            family=zlib.crc32(b"video") + 16,
        )
        wanted = pictures(frame[None], draws, crops)[0]
        assert np.array_equal(got[:, k], wanted)


def test_unchanged_clips_are_the_video_itself():
    clip = noise(height=24, width=24)
    assert np.array_equal(made(maker(Clips(**AS_IT_IS)), clips=[clip])[0], clip)


def test_clips_keep_the_order_of_their_frames(tmp_path):
    path = write(tmp_path / "clip.mp4", times=[k / 25 for k in range(75)], size=(48, 48))
    video = open_streams(path)["video"]
    make = maker(Clips(count=2, **AS_IT_IS), input=Frames(side=48, frames=4, rate=5.0))
    windows = make.windows(0, 0, video.span)
    out = np.zeros((2, *make.layout.shape), np.uint8)
    make([video.read(window) for window in windows], windows, 0, 0, out)
    for window, clip in zip(windows, out, strict=True):
        first = int(window.start * 25 + 1e-6)
        assert [number(frame) for frame in clip] == [first, first + 5, first + 10, first + 15]


def test_what_is_made_is_what_the_input_finishes():
    make = maker(Clips(count=2))
    finished = FRAMES.finish(torch.from_numpy(made(make)))
    assert finished.shape == (2, *FRAMES.shape)


@pytest.mark.parametrize("family", [Clips(), PlainClips()])
def test_encoders_that_are_not_fed_colour_video_are_refused(family):
    for input in (Pixels(), LogMel()):
        with pytest.raises(UsageError, match=r"is fed (Pixels|LogMel)"):
            maker(family, input=input)
    with pytest.raises(UsageError, match="1 channels"):
        maker(family, input=Frames(channels=1, mean=(0.5,), std=(0.5,)))


def test_plain_clips_are_spread_over_the_video():
    windows = maker(PlainClips()).windows(9, 9, 10.5)
    assert windows == [Window(5.0, 5.5, 4)]  # the middle
    starts = [w.start for w in maker(PlainClips(count=4)).windows(0, 0, 8.5)]
    assert starts == [1.0, 3.0, 5.0, 7.0]
    assert [w.start for w in maker(PlainClips(count=2)).windows(0, 0, 0.3)] == [0.0, 0.0]


@pytest.mark.parametrize("side", [24, 112])
def test_plain_clips_are_cut_as_plain_pictures(side):
    clip = noise(height=130, width=180)
    make = maker(PlainClips(count=2), input=Frames(side=side, frames=4))
    plain = Plain(Pixels(side=side))
    got = made(make, clips=[clip, clip[::-1]])
    assert np.array_equal(got[0], plain.uint8(clip))
    assert np.array_equal(got[1], got[0][::-1])
