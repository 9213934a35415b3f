"""What is told of videos before training, and which of them cannot be used and why."""

import shutil

import av
import numpy as np
import pytest
from PIL import Image

import manyviews
import media
from manyviews.core import UsageError
from manyviews.core.sample import Unreadable, Window
from manyviews.data.doctor import videos
from manyviews.data.doctor.videos import video_doctor
from manyviews.data.sources import open_media
from manyviews.data.streams.files import open_streams
from manyviews.data.streams.video import Timing
from manyviews.evaluation.labelled import open_labelled

EVEN = [k / 25 for k in range(50)]
FRAME = (36, 48)


def scene(seed, *, count, size=FRAME):
    """[T, H, W, 3] uint8: smooth noise that drifts."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (size[0] // 6, size[1] // 6 + count, 3), dtype=np.uint8)
    wide = np.kron(blocks, np.ones((6, 6, 1), np.uint8))
    return np.stack([wide[:, k : k + size[1]] for k in range(count)])


def film(path, clip, *, rate=25, codec="libx264", pixels="yuv420p", quality="23", gop=12):
    """Write [T, H, W, 3] as a video."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, options={"crf": quality})
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = pixels
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = 1
        for frame in clip:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
        out.mux(stream.encode())
    return str(path)


def pictures(folder, clip, *, name="{:d}.png", start=8):
    """Write [T, H, W, 3] as a folder of frames whose numbers have one digit, then two."""
    folder.mkdir(parents=True)
    for k, frame in enumerate(clip):
        Image.fromarray(frame).save(folder / name.format(start + k))


def gif(path, frames, *, milliseconds):
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return str(path)


def cut(path, to, share):
    """The head of a file whose index comes first, and so much of its frames."""
    data = path.read_bytes()
    at = data.index(b"mdat")
    to.write_bytes(data[: at + round((len(data) - at) * share)])


def whole(path):
    """All of a file at once."""
    video = open_streams(str(path))["video"]
    return video.read(Window(0.0, max(video.span, 0.1), 8))


# --- what is refused, and what is not ---------------------------------------------------------


def no_frames(folder):
    media.write(folder / "x.mkv", times=[], wave=media.clicks([0.5], seconds=1, rate=16000))
    return folder / "x.mkv"


def truncated(folder):
    media.write(folder / "whole.mp4", times=EVEN, faststart=True)
    cut(folder / "whole.mp4", folder / "x.mp4", 0.5)
    return folder / "x.mp4"


def half_a_header(folder):
    media.write(folder / "whole.mp4", times=EVEN)
    (folder / "x.mp4").write_bytes((folder / "whole.mp4").read_bytes()[:-200])
    return folder / "x.mp4"


def unknown_codec(folder):
    media.write(folder / "whole.mp4", times=EVEN)
    data = (folder / "whole.mp4").read_bytes()
    (folder / "x.mp4").write_bytes(data.replace(b"avc1", b"zzzz"))
    return folder / "x.mp4"


def lying_length(folder):
    """A Matroska file without the length of its stream, whose header says a minute."""
    media.write(folder / "whole.mkv", times=EVEN)
    data = (folder / "whole.mkv").read_bytes()
    at = data.index(b"\x44\x89\x88") + 3  # Duration, eight bytes, in milliseconds
    assert np.frombuffer(data[at : at + 8], ">f8")[0] == pytest.approx(2000, abs=50)
    data = data[:at] + np.array(60000.0, ">f8").tobytes() + data[at + 8 :]
    (folder / "x.mkv").write_bytes(data.replace(b"DURATION", b"DURATIOX"))
    return folder / "x.mkv"


def cut_gif(folder):
    """Within the first picture."""
    gif(folder / "whole.gif", scene(0, count=6), milliseconds=40)
    (folder / "x.gif").write_bytes((folder / "whole.gif").read_bytes()[:900])
    return folder / "x.gif"


REFUSED = {
    no_frames: "no frames",
    truncated: r"Invalid data found|it ends at 1",
    half_a_header: "of a known kind, or its header is broken or cut off",
    unknown_codec: "of a codec that this FFmpeg cannot decode",
    lying_length: r"it ends at 2.*s, its header says 60.00 s; copy it again",
    cut_gif: "Invalid data|no frames",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_cannot_be_used_is_refused_with_a_reason_here_and_in_training(make, tmp_path):
    bad = make(tmp_path)
    with pytest.raises(Unreadable, match=REFUSED[make]) as caught:
        whole(bad)
    assert "\n" not in caught.value.reason
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(bad, folder)
    for k in range(3):
        film(folder / f"{k}.mp4", scene(k, count=30))
    found = video_doctor(str(folder), workers=0)
    assert [one.path for one in found.unreadable] == [str(folder / bad.name)]
    assert found.readable == 3


def test_files_that_are_short_or_odd_are_used(tmp_path):
    media.write(tmp_path / "one.mp4", times=[0.0])
    media.write(tmp_path / "short.mp4", times=EVEN[:5])
    media.write(tmp_path / "uneven.mkv", times=[0, 0.04, 0.3, 0.5, 1.4, 1.44])
    media.write(tmp_path / "turned.mp4", times=EVEN, rotation=90)
    media.write(tmp_path / "odd.mkv", times=EVEN, size=(35, 61), codec="ffv1", pixels="bgr0")
    gif(tmp_path / "moving.gif", scene(1, count=20), milliseconds=[40, 160] * 10)
    found = video_doctor(str(tmp_path), plan=lambda span: [Window(0, 1, 8)], workers=0)
    assert found.unreadable == ()
    assert (found.still, found.uneven, found.turned) == (1, 2, 1)
    assert found.sides == {"35": 1, "36": 5}
    assert (found.smallest, found.largest) == ((48, 36), (61, 35))
    assert (found.asked, found.fit) == ((1, 1.0), 4)
    assert found.codecs == {"h264": 4, "ffv1": 1, "gif": 1}
    lines = "\n".join(found.lines())
    assert "room for the recipe's 1 clip of 1 s: in 4 of 6 (66.7%)" in lines
    assert "1 have one frame alone" in lines


def test_sound_that_is_wanted_is_looked_at_too(tmp_path, monkeypatch):
    """A clip may be cut where both are, so that the shorter one counts."""
    media.write(tmp_path / "a.mkv", times=EVEN, wave=media.clicks([0.5], seconds=1, rate=16000))
    both = ("video", "audio")
    found = video_doctor(str(tmp_path), both, plan=lambda span: [Window(0, 1.5, 8)], workers=0)
    assert (found.count, found.unreadable, found.fit) == (1, (), 0)
    assert found.seconds == pytest.approx((1.0, 1.0, 1.0), abs=0.05)
    alone = video_doctor(str(tmp_path), plan=lambda span: [Window(0, 1.5, 8)], workers=0)
    assert (alone.count, alone.fit) == (1, 1)

    def broken(self, window=None):
        raise Unreadable("x", "its sound is broken")

    kind = type(open_streams(str(tmp_path / "a.mkv"))["audio"])
    monkeypatch.setattr(kind, "read", broken)
    [bad] = video_doctor(str(tmp_path), both, workers=0, max_bad=1.0).unreadable
    assert bad.reason == "its sound is broken"


def test_a_video_is_looked_at_to_its_end(tmp_path):
    for name in ("a", "b"):
        pictures(tmp_path / "data" / name, scene(0, count=20))
    (tmp_path / "data" / "a" / "27.png").write_bytes(b"no picture")  # the last of twenty
    found = video_doctor(f"frames:{tmp_path / 'data'}@10", workers=0, max_bad=1.0)
    assert [bad.path for bad in found.unreadable] == [str(tmp_path / "data" / "a")]
    assert found.readable == 1


# --- gif and folders of frames ----------------------------------------------------------------


def test_a_gifs_pictures_stand_for_their_own_times(tmp_path):
    path = gif(
        tmp_path / "x.gif",
        [media.bars(k, height=36, width=48) for k in range(9)],
        milliseconds=[40, 200, 80] * 3,
    )
    video = open_streams(path)["video"]
    assert video.span == pytest.approx(0.96)
    times = np.cumsum([0, *[0.04, 0.2, 0.08] * 3])[:-1]
    np.testing.assert_allclose(video.timing().times, times, atol=1e-6)
    for start in (0.0, 0.3, 0.7):
        at = start + np.arange(8) * 0.03
        wanted = np.searchsorted(times, at + 1e-4, side="right") - 1
        got = video.read(Window(start, start + 0.24, 8))
        assert [media.number(frame) for frame in got] == wanted.tolist()


def test_a_folder_of_frames_is_the_video_of_those_frames(tmp_path):
    clip = scene(3, count=20)
    pictures(tmp_path / "data" / "a", clip)  # 8, 9, 10, 11, ...: by number, not by letter
    pictures(tmp_path / "data" / "b", scene(4, count=5), name="frame_{:04d}.jpg")
    (tmp_path / "data" / "a" / "notes.txt").write_text("of the day")
    source = open_media(f"frames:{tmp_path / 'data'}@10", ("video",))
    assert [source.name(i).rpartition("/")[2] for i in range(len(source))] == ["a", "b"]
    video = source.open(0)["video"]
    assert video.span == 2.0
    assert np.array_equal(video.read(), clip)
    assert np.array_equal(video.read(Window(0.5, 0.9, 0)), clip[5:9])
    assert np.array_equal(video.read(Window(0.3, 0.9, 6)), clip[3:9])
    assert np.array_equal(video.read(Window(1.7, 2.5, 4)), clip[[17, 19, 19, 19]])
    film(tmp_path / "same.mkv", clip, rate=10, codec="ffv1", pixels="bgr0")
    coded = open_streams(str(tmp_path / "same.mkv"))["video"]
    random = np.random.default_rng(0)
    for start in random.uniform(0, 1.5, 10):
        window = Window(start, start + 0.8, 8)
        assert np.array_equal(video.read(window), coded.read(window))


def test_frames_that_cannot_be_a_video_are_refused(tmp_path):
    pictures(tmp_path / "a", scene(0, count=4))
    Image.fromarray(scene(0, count=1, size=(12, 12))[0]).save(tmp_path / "a" / "9.png")
    source = open_media(f"frames:{tmp_path}@10", ("video",))
    with pytest.raises(Unreadable, match="its frames change size \\(12 x 12 and 48 x 36\\)"):
        source.open(0)["video"].read()
    (tmp_path / "a" / "10.png").write_bytes(b"no picture")
    with pytest.raises(Unreadable, match=r"10\.png"):
        source.open(0)["video"].read(Window(0.2, 0.3, 1))
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(Unreadable, match="No such file"):
        source.open(0)


@pytest.mark.parametrize(
    ("spec", "streams", "words"),
    [
        ("frames:{0}", ("video",), "how many frames there are a second. Write frames:.*@25"),
        ("frames:{0}@no", ("video",), "how many frames"),
        ("frames:{0}@0", ("video",), "how many frames"),
        ("frames:{0}/nowhere@5", ("video",), "There is no folder"),
        ("frames:{0}/a@5", ("video",), "in no folder of their own"),
        ("frames:{0}@5", ("video", "audio"), "has frames alone"),
    ],
)
def test_what_names_no_folders_of_frames_is_said_in_a_line(spec, streams, words, tmp_path):
    pictures(tmp_path / "a", scene(0, count=4))
    with pytest.raises(UsageError, match=words):
        open_media(spec.format(tmp_path), streams)


def test_folders_of_frames_have_labels_by_their_folders(tmp_path):
    for label in ("run", "walk"):
        for k in range(5):
            pictures(tmp_path / label / str(k), scene(k, count=3))
    spec = f"frames:{tmp_path}@10"
    held = open_labelled(spec, channels=3, max_pixels=10**6, split="train", streams=("video",))
    assert held.classes == ("run", "walk")
    assert len(held) == 8
    assert held.source.open(0)["video"].read().shape == (3, *FRAME, 3)


def test_the_digest_of_folders_of_frames_changes_with_a_frame(tmp_path):
    pictures(tmp_path / "a", scene(0, count=4))
    before = open_media(f"frames:{tmp_path}@10", ("video",)).digest
    assert open_media(f"frames:{tmp_path}@10", ("video",)).digest == before
    Image.fromarray(scene(9, count=1)[0]).save(tmp_path / "a" / "99.png")
    assert open_media(f"frames:{tmp_path}@10", ("video",)).digest != before


# --- what is counted --------------------------------------------------------------------------


def test_copies_are_counted_whatever_they_are_stored_as(tmp_path):
    clip = scene(5, count=30, size=(48, 96))
    film(tmp_path / "a.mp4", clip)
    shutil.copy(tmp_path / "a.mp4", tmp_path / "b.mp4")
    film(tmp_path / "c.webm", clip[:, ::2, ::2], codec="libvpx-vp9", quality="40")
    film(tmp_path / "d.mp4", scene(6, count=30))
    # The same first picture is no copy.
    film(tmp_path / "e.mp4", np.concatenate((clip[:8], scene(7, count=22, size=(48, 96)))))
    found = video_doctor(str(tmp_path), workers=0)
    assert (found.exact_duplicates, found.near_duplicates) == (1, 1)
    [(later, first)] = found.pairs
    assert (later[-6:], first[-5:]) == ("c.webm", "a.mp4")
    assert "40.0% are copies" in "\n".join(found.lines())


def test_key_frames_and_rates_are_read_from_the_index(tmp_path):
    film(tmp_path / "dense.mp4", scene(1, count=120), rate=30, gop=12)
    film(tmp_path / "sparse.mp4", scene(2, count=120), rate=15, gop=250)
    found = video_doctor(str(tmp_path), workers=0)
    assert found.rates == {"30": 1, "15": 1}
    assert found.keys == (pytest.approx(4.2, abs=0.1), pytest.approx(8.0, abs=0.1))
    assert any("`manyviews pack` makes them dense" in line for line in found.lines())
    assert found.hours == pytest.approx(12 / 3600)


def test_the_longest_time_between_key_frames_counts_and_that_to_the_end():
    times = np.arange(5.0)
    for keys, wanted in (([0.0, 1.0, 3.0], 2.0), ([0.0, 1.0], 3.5), ([0.0], 4.5)):
        assert videos._apart(Timing(times, np.array(keys)), 4.5) == wanted


def test_doctor_says_for_which_videos_a_recipe_has_room(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for k, count in enumerate((10, 20, 30, 60)):
        film(data / f"{k}.mp4", scene(k, count=count))
    report = manyviews.doctor(str(data), "rho-simclr").report
    assert (report.asked, report.fit) == ((2, pytest.approx(1.0)), 2)
    assert manyviews.doctor(str(data), "clip-order").report.asked == (3, pytest.approx(0.5))
    assert manyviews.doctor(str(data), "mae-video", sample=2).report.examined == 2
