import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from manyviews.core import UsageError
from manyviews.core.inputs import Frames, LogMel, Pixels
from manyviews.core.sample import Window
from manyviews.core.settings import check
from manyviews.data.streams.files import open_streams
from manyviews.views.draw import draw, family
from manyviews.views.image.make import make as pictures
from manyviews.views.image.plain import Plain
from manyviews.views.masks import masks
from manyviews.views.plan import Crops, Mask
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


@pytest.mark.parametrize("times", ["uniform", "in-order"])
def test_a_video_shorter_than_a_clip_is_taken_from_its_start(times):
    assert maker(Clips()).windows(7, 3, 0.2) == [Window(0.0, 0.5, 4)]
    many = maker(Clips(count=3, times=times, within=1.0)).windows(7, 3, 0.2)
    assert many == [Window(0.0, 0.5, 4)] * 3


def starts_of(clips, *, span=3.0, videos=2000):
    """[videos, V] seconds."""
    make = maker(clips)
    return np.array([[w.start for w in make.windows(i, 0, span)] for i in range(videos)])


def test_clips_begin_within_a_band_that_lies_anywhere():
    starts = starts_of(Clips(count=4, within=0.4), span=3.0)
    assert starts.min() >= 0
    assert starts.max() <= 2.5
    apart = starts.max(axis=1) - starts.min(axis=1)
    assert 0.3 < apart.max() <= 0.4
    # Where the band lies: uniform over the 2.1 seconds that it leaves.
    middle = np.quantile(starts.mean(axis=1), [0.1, 0.5, 0.9])
    np.testing.assert_allclose(middle, [0.2 + 0.21, 0.2 + 1.05, 0.2 + 1.89], atol=0.08)
    far = starts_of(Clips(count=2, within=60.0))
    np.testing.assert_array_equal(far, starts_of(Clips(count=2)))  # no more than the video has


def test_clips_of_one_time_differ_in_their_crops_alone():
    make = maker(Clips(count=3, within=0.0))
    assert len({w.start for w in make.windows(5, 0, 9.0)}) == 1
    assert make.windows(5, 0, 9.0) != make.windows(6, 0, 9.0)
    first, second, _ = made(make, clips=[noise()] * 3)
    assert not np.array_equal(first, second)


def test_two_clips_are_at_the_distances_of_cvrl():
    """Qian et al. 2021 (CVRL), section 3.2: CDF 2 d / M - d^2 / M^2 over a room of M.

    They draw the distance by this law and then the first clip uniformly in what is left, which is
    what two independent uniform clips are.
    """
    starts = starts_of(Clips(count=2), span=3.0)
    apart = np.abs(starts[:, 0] - starts[:, 1]) / 2.5
    quantiles = np.quantile(apart, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quantiles, 1 - np.sqrt([0.75, 0.5, 0.25]), atol=0.03)
    left = starts.min(axis=1) / (2.5 * (1 - apart))
    np.testing.assert_allclose(np.quantile(left, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.04)
    assert 0.46 < (starts[:, 0] > starts[:, 1]).mean() < 0.54


def test_clips_in_order_follow_one_another_without_overlap():
    starts = starts_of(Clips(count=3, times="in-order"), span=4.0)
    gaps = np.diff(starts, axis=1) - 0.5
    assert gaps.min() >= -1e-9
    assert starts.min() >= 0
    assert starts.max() <= 3.5
    # Three uniform numbers in order divide the spare 2.5 seconds into four like parts.
    parts = np.concatenate([starts[:, :1], gaps, 3.5 - starts[:, 2:]], axis=1)
    np.testing.assert_allclose(parts.mean(axis=0), 2.5 / 4, atol=0.04)


@pytest.mark.parametrize(
    ("span", "wanted"), [(1.5, [0.0, 0.5, 1.0]), (1.2, [0.0, 0.35, 0.7]), (0.3, [0.0, 0.0, 0.0])]
)
def test_clips_in_order_overlap_alike_where_there_is_no_room(span, wanted):
    starts = starts_of(Clips(count=3, times="in-order"), span=span, videos=3)
    np.testing.assert_allclose(starts, [wanted] * 3, atol=1e-9)
    assert starts_of(Clips(times="in-order"), span=0.1, videos=2).tolist() == [[0.0]] * 2


def test_faster_clips_show_more_seconds_and_fit_all_the_same():
    make = maker(Clips(count=5, speeds=(1.0, 2.0, 4.0)))
    for index in range(200):
        windows = make.windows(index, 0, 3.0)
        lasts = [w.stop - w.start for w in windows]
        np.testing.assert_allclose(lasts, [0.5, 1.0, 2.0, 0.5, 1.0])
        assert {w.count for w in windows} == {4}
        assert all(w.start >= 0 and w.stop <= 3.0 + 1e-9 for w in windows)
    alone = maker(Clips(count=1, speeds=(1.0, 2.0, 4.0)))
    assert alone.windows(7, 0, 3.0) == make.windows(7, 0, 3.0)[:1]


def test_a_negative_speed_runs_backwards_with_the_crop_and_colours_of_the_clip():
    forth, back = (maker(Clips(count=2, speeds=(1.0, s))) for s in (1.0, -1.0))
    assert forth.windows(3, 0, 9.0) == back.windows(3, 0, 9.0)
    one, two = (made(make, clips=[noise()] * 2) for make in (forth, back))
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1][::-1])
    assert not np.array_equal(one[1], two[1])


@pytest.mark.parametrize("speeds", [(), (1.0, 0.0), (17.0,), (float("nan"),)])
def test_speeds_that_cannot_be_are_refused(speeds):
    with pytest.raises(UsageError, match=r"--views.global.speeds is .*; wanted "):
        check(Clips(speeds=speeds), "views.global.")


@pytest.mark.parametrize("clips", [Clips(count=5), Clips(count=5, within=0.5)])
def test_when_a_clip_begins_does_not_depend_on_how_many_there_are(clips):
    for fewer in (1, 2, 3):
        some = maker(replace(clips, count=fewer)).windows(3, 1, 9.0)
        assert some == maker(clips).windows(3, 1, 9.0)[:fewer]


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


@pytest.mark.parametrize("rotation", [0, 90])
def test_clips_of_odd_and_turned_files_are_made_of_what_a_viewer_sees(rotation, tmp_path):
    path = write(
        tmp_path / "clip.mp4",
        times=[k / 10 for k in range(20)],
        size=(35, 61),
        rotation=rotation,
        pixels="yuv444p",
    )
    video = open_streams(path)["video"]
    shape = (61, 35) if rotation else (35, 61)
    make = maker(Clips(count=2))
    windows = make.windows(0, 0, video.span)
    decoded = [video.read(window) for window in windows]
    assert {clip.shape for clip in decoded} == {(4, *shape, 3)}
    out = np.zeros((2, *make.layout.shape), np.uint8)
    make(decoded, windows, 0, 0, out)
    assert out.any(axis=(1, 2, 3, 4)).all()


@pytest.mark.parametrize("kind", ["random", "tube"])
def test_masks_over_tubelets_come_with_the_clips(kind):
    plan = Clips(count=2, mask=Mask(ratio=0.75, kind=kind))
    make = plan.maker("global", FRAMES, (2, 3, 4), seed=3)
    assert make.cues["mask"].count == 2
    windows = make.windows(5, 1, 10.0)
    out = np.zeros((2, *make.layout.shape), np.uint8)
    [(name, mask)] = make([noise()] * 2, windows, 5, 1, out).items()
    assert (name, mask.shape, mask.dtype) == ("mask", (2, *make.cues["mask"].shape), np.bool_)
    wanted = masks(
        seed=3,
        epoch=1,
        family=family("global.mask"),
        index=np.array([5]),
        count=2,
        grid=(2, 3, 4),
        ratio=0.75,
        kind=kind,
    )[0]
    assert np.array_equal(mask, wanted)
    assert (mask.sum(axis=1) == 18).all()


def test_masks_of_clips_of_another_size_are_refused():
    with pytest.raises(UsageError, match=r"views of 24 pixels, and those of 'video' have 16\."):
        maker(Clips(size=16, mask=Mask(ratio=0.5)))


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


def test_crops_of_a_clip_are_squares_from_one_end_of_its_longer_side_to_the_other():
    make = maker(PlainClips(count=6, crops=3), input=Frames(side=24, frames=4, rate=8.0))
    windows = make.windows(0, 0, 8.5)
    assert [w.start for w in windows] == [2.0] * 3 + [6.0] * 3
    wide = noise(height=24, width=55)  # nothing is resized: squares are pieces of it
    high = np.ascontiguousarray(wide.swapaxes(1, 2))
    got = made(make, clips=[wide] * 3 + [high] * 3)
    for place, left in enumerate((0, 15, 31)):
        assert np.array_equal(got[place], wide[:, :, left : left + 24])
        assert np.array_equal(got[3 + place], high[:, left : left + 24])
    large = np.kron(wide, np.ones((1, 4, 4, 1), dtype=np.uint8))
    shrunk = made(make, clips=[large] * 6)
    assert shrunk.shape == (6, 4, 24, 24, 3)
    # A half of a pixel is its neighbours', as resizing smooths; other places differ by 85.
    assert abs(shrunk.astype(int) - got[[0, 1, 2, 0, 1, 2]]).mean() < 35


def test_one_square_along_a_picture_is_its_middle():
    picture = noise(1, 24, 51)[0]
    [middle] = Plain(Pixels(side=24)).along(picture, 1)
    assert np.array_equal(middle, picture[:, 13:37])


def test_clips_in_a_row_follow_one_another_without_gaps():
    starts = starts_of(Clips(count=3, times="in-a-row"), span=4.0)
    np.testing.assert_allclose(np.diff(starts, axis=1), 0.5)  # each as long as a clip
    assert starts[:, 0].min() >= 0
    assert starts[:, -1].max() <= 3.5
    assert starts[:, 0].max() - starts[:, 0].min() > 2.0  # of the 2.5 s that are left
    crowded = starts_of(Clips(count=3, times="in-a-row"), span=1.0, videos=3)
    np.testing.assert_allclose(crowded, [[0, 0.25, 0.5]] * 3)


def test_alike_clips_of_a_video_have_the_crop_and_colours_of_its_first():
    apart, alike = (
        made(maker(Clips(count=3, alike=a)), clips=[still()] * 3) for a in (False, True)
    )
    assert not np.array_equal(apart[1], apart[0])
    assert np.array_equal(alike[0], apart[0])
    assert np.array_equal(alike[1], alike[0])
    assert np.array_equal(alike[2], alike[0])
