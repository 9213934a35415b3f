import gc
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from manyviews.core import UsageError
from manyviews.core.sample import Unreadable, Window
from manyviews.data.streams.files import STREAMS, open_streams
from manyviews.data.streams.numbered import why_not
from media import bars, clicks, number, write

EVEN = [k / 25 for k in range(75)]
UNEVEN = list(np.cumsum([0, *np.random.default_rng(0).integers(1, 9, 60)]) / 50)


def numbers(clip) -> list[int]:
    return [number(frame) for frame in clip]


def shown(times, window) -> list[int]:
    """Which frame is on the screen at each time of a window."""
    at = window.start + np.arange(window.count) * (window.stop - window.start) / window.count
    return np.maximum(0, np.searchsorted(times, at + 0.0004, side="right") - 1).tolist()


FILES = {
    "constant": ("clip.mp4", EVEN, {}),
    "variable": ("clip.mp4", UNEVEN, {}),
    "milliseconds": ("clip.mkv", [k / 30 for k in range(90)], {"clock": 1000}),
    "packets": ("clip.ts", EVEN, {}),
    "avi": ("clip.avi", EVEN, {"codec": "mpeg4", "clock": 25}),
}


@pytest.mark.parametrize("kind", FILES)
def test_frames_are_those_on_the_screen_at_their_times(kind, tmp_path):
    name, times, options = FILES[kind]
    video = open_streams(write(tmp_path / name, times=times, **options))["video"]
    assert numbers(video.read()) == list(range(len(times)))
    random = np.random.default_rng(1)
    for start in [0.0, 1.0, *random.uniform(0, times[-1] - 0.5, 12)]:
        window = Window(start, start + 0.5, 8)
        assert numbers(video.read(window)) == shown(times, window)


def test_a_time_that_is_a_frames_own_gives_that_frame(tmp_path):
    times = [k / 30 for k in range(90)]  # in the file as 33, 67, 100 ms ...
    video = open_streams(write(tmp_path / "clip.mkv", times=times, clock=1000))["video"]
    for first in range(0, 80, 7):
        got = numbers(video.read(Window(first / 30, (first + 4) / 30, 4)))
        assert got == list(range(first, first + 4))


def test_a_window_decoded_alone_is_the_slice_of_the_whole(tmp_path):
    path = write(tmp_path / "clip.mp4", times=EVEN)
    whole = open_streams(path)["video"].read()
    for first, last in ((50, 60), (7, 8), (12, 40), (0, 3)):
        alone = open_streams(path)["video"].read(Window(first / 25, last / 25, 0))
        assert np.array_equal(alone, whole[first:last])
        spaced = open_streams(path)["video"].read(Window(first / 25, last / 25, last - first))
        assert np.array_equal(spaced, whole[first:last])


def test_windows_do_not_depend_on_what_was_read_before(tmp_path):
    video = open_streams(write(tmp_path / "clip.mp4", times=EVEN))["video"]
    window = Window(1.0, 1.5, 8)
    first = video.read(window)
    video.read(Window(2.5, 9.0, 8))  # to the end of the file
    assert np.array_equal(video.read(window), first)


def test_the_last_frame_stands_after_the_end(tmp_path):
    video = open_streams(write(tmp_path / "clip.mp4", times=EVEN))["video"]
    assert numbers(video.read(Window(2.8, 3.2, 4))) == [70, 72, 74, 74]
    assert numbers(video.read(Window(30.0, 31.0, 2))) == [74, 74]


def test_the_first_frame_stands_before_the_beginning(tmp_path):
    late = [0.5 + time for time in EVEN]
    wave = clicks([1.0], seconds=3, rate=16000)  # the sound begins at once
    video = open_streams(write(tmp_path / "clip.mov", times=late, wave=wave))["video"]
    assert numbers(video.read(Window(0.0, 1.0, 4))) == [0, 0, 0, 6]


def test_the_header_is_known_without_decoding(tmp_path):
    path = write(tmp_path / "clip.mp4", times=EVEN)
    video = open_streams(path)["video"]
    header = video.header
    assert (header.width, header.height, header.codec) == (48, 36, "h264")
    assert header.rate == pytest.approx(25)
    assert video.span == header.seconds == pytest.approx(3.0)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_turned_videos_are_read_upright(rotation, tmp_path):
    plain = open_streams(write(tmp_path / "plain.mp4", times=EVEN[:5]))["video"].read()
    path = write(tmp_path / "turned.mp4", times=EVEN[:5], rotation=rotation)
    turned = open_streams(path)["video"].read()
    # FFmpeg's display matrix turns counter-clockwise by the angle that it is given.
    assert np.array_equal(turned, np.rot90(plain, rotation // 90, axes=(1, 2)))


@pytest.mark.parametrize("size", [(35, 61), (36, 61), (1, 13), (17, 240)])
def test_odd_sizes_are_read_to_their_last_row_and_column(size, tmp_path):
    path = write(tmp_path / "odd.mkv", times=EVEN[:9], size=size, codec="ffv1", pixels="bgr0")
    video = open_streams(path)["video"]
    assert (video.header.height, video.header.width) == size
    clip = video.read(Window(0.0, 0.36, 9))
    for k, frame in enumerate(clip):  # this codec loses nothing
        assert np.array_equal(frame, bars(k, height=size[0], width=size[1]))


@pytest.mark.parametrize("name", ["one.mp4", "one.mkv", "one.avi"])
def test_a_single_frame_stands_for_as_long_as_one_asks(name, tmp_path):
    options = {"codec": "mpeg4", "clock": 25} if name.endswith("avi") else {}
    video = open_streams(write(tmp_path / name, times=[0.0], **options))["video"]
    assert 0 <= video.span < 0.1
    assert numbers(video.read(Window(0.0, 2.0, 8))) == [0] * 8
    assert numbers(video.read()) == [0]


@pytest.mark.parametrize("times", [EVEN[:12], UNEVEN[:6]])
def test_of_a_file_shorter_than_a_window_the_last_frame_stands(times, tmp_path):
    video = open_streams(write(tmp_path / "short.mp4", times=times))["video"]
    window = Window(0.0, 4.0, 20)
    assert video.span < 4
    got = numbers(video.read(window))
    assert got == shown(times, window)
    assert got[-1] == len(times) - 1


def test_a_video_without_sound_has_no_such_stream(tmp_path):
    assert set(open_streams(write(tmp_path / "mute.mp4", times=EVEN[:5]))) == {"video"}
    wave = clicks([], seconds=1, rate=16000)
    loud = write(tmp_path / "loud.mov", times=EVEN[:5], wave=wave)
    assert set(open_streams(loud)) == {"video", "audio"}


def test_broken_files_are_unreadable_with_a_reason(tmp_path):
    whole = write(tmp_path / "whole.mp4", times=EVEN)
    data = (tmp_path / "whole.mp4").read_bytes()
    files = {"empty.mp4": b"", "text.mp4": b"not a video" * 100, "cut.mp4": data[: len(data) // 2]}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Unreadable, match="of a known kind, or its header") as caught:
            open_streams(str(tmp_path / name))
        assert caught.value.path.endswith(name)
    with pytest.raises(Unreadable, match="No such file"):
        open_streams(whole + ".mp4")


@pytest.mark.parametrize("window", [Window(0.0, 3.0, 8), Window(2.0, 2.5, 4), Window(0.0, 9.0, 0)])
def test_a_file_that_was_cut_off_is_unreadable_where_it_is_missing(window, tmp_path):
    write(tmp_path / "whole.mp4", times=EVEN, faststart=True)
    data = (tmp_path / "whole.mp4").read_bytes()
    at = data.index(b"mdat")
    (tmp_path / "cut.mp4").write_bytes(data[: at + (len(data) - at) // 2])
    video = open_streams(str(tmp_path / "cut.mp4"))["video"]
    assert numbers(video.read(Window(0.2, 0.6, 4))) == [5, 7, 10, 12]
    with pytest.raises(Unreadable) as caught:
        video.read(window)
    assert caught.value.reason


def test_a_file_without_frames_is_unreadable(tmp_path):
    wave = clicks([0.5], seconds=1, rate=16000)
    with pytest.raises(Unreadable, match="no frames"):
        open_streams(write(tmp_path / "none.mkv", times=[], wave=wave))["video"].read()


def test_a_file_of_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as out:
        audio = out.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        out.mux(audio.encode(frame))
        out.mux(audio.encode())
    with pytest.raises(Unreadable, match="it has no video"):
        open_streams(str(tmp_path / "sound.mp4"))


def test_a_file_that_names_others_is_not_followed(tmp_path):
    write(tmp_path / "clip.mp4", times=EVEN[:5])
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile clip.mp4\n")
    with pytest.raises(Unreadable):
        open_streams(str(tmp_path / "list.mp4"))


def holds(path) -> int:
    """How often this process has a file open."""
    links = (link for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return sum(link.readlink() == Path(path) for link in links)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no list of open files here")
def test_files_are_closed_when_their_streams_are_forgotten(tmp_path):
    wave = clicks([0.5], seconds=1, rate=16000)
    path = write(tmp_path / "clip.mov", times=EVEN[:25], wave=wave)
    gc.disable()  # nothing may be left to it
    try:
        for start in np.linspace(0, 0.5, 20):
            streams = open_streams(path)
            streams["video"].read(Window(start, start + 0.2, 2))
            streams["audio"].read(Window(start, start + 0.2, 100))
            assert holds(path) == (2 if why_not() is None else 1)  # torchcodec opens it too
        with pytest.raises(Unreadable, match="no frame begins"):
            streams["video"].read(Window(0.001, 0.002, 0))
        del streams
        gc.collect()  # from Python 3.12 on an error and its frames hold each other
        assert holds(path) == 0
    finally:
        gc.enable()


def test_a_missing_package_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "clip.mp4", times=EVEN[:5])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r"Install it: .* -m pip install 'av>="):
        open_streams(path)


def test_endings_say_which_streams_a_file_may_have():
    assert STREAMS[".mp4"].has == ("video", "audio")
    assert STREAMS[".wav"].has == ("audio",)
    assert STREAMS[".gif"].has == ("video",)  # a picture where pictures are wanted
