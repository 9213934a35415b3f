"""Videos packed: the same pictures at the same times, cheaper to find."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

import manyviews
import media
from manyviews.core import Failure, UsageError
from manyviews.core.sample import Window
from manyviews.data.doctor.videos import video_doctor
from manyviews.data.pack.videos import pack_videos
from manyviews.data.sources import open_media
from manyviews.data.streams.files import open_streams

TIMES = [k / 25 for k in range(60)]
UNEVEN = np.cumsum([0, *np.random.default_rng(0).integers(1, 9, 40)]) / 50


def packed(data, out, **settings):
    return pack_videos(str(data), out, workers=0, **settings)


def below(folder):
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*.mkv"))


@pytest.mark.parametrize("times", [TIMES, UNEVEN], ids=["even", "uneven"])
def test_frames_and_times_are_kept_and_key_frames_are_near(times, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    media.write(data / "a.mkv", times=times, size=(72, 100))
    packed(data, tmp_path / "out", size=36)
    before = open_streams(str(data / "a.mkv"))["video"]
    after = open_streams(str(tmp_path / "out" / "a.mkv"))["video"]
    np.testing.assert_allclose(after.timing().times, times, atol=0.0011)
    np.testing.assert_allclose(after.timing().keys, np.array(times)[::8], atol=0.0011)
    assert after.span == pytest.approx(before.span, abs=0.1)
    assert after.header.rate == pytest.approx(before.header.rate, rel=0.05)
    whole = after.read()
    assert whole.shape == (len(times), 36, 50, 3)
    assert [media.number(frame) for frame in whole] == list(range(len(times)))
    for start in np.random.default_rng(1).uniform(0, times[-1] - 0.5, 8):
        window = Window(start, start + 0.5, 8)
        numbers = [[media.number(f) for f in each.read(window)] for each in (before, after)]
        assert numbers[0] == numbers[1]


def test_small_videos_keep_their_size_and_nearly_their_pixels(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    media.write(data / "a.mp4", times=TIMES, size=(36, 48))
    media.write(data / "odd.mkv", times=TIMES, size=(35, 61), codec="ffv1", pixels="bgr0")
    packed(data, tmp_path / "out", crf=10)
    clips = {p.stem: open_streams(str(p))["video"] for p in (tmp_path / "out").glob("*.mkv")}
    whole = open_streams(str(data / "a.mp4"))["video"].read().astype(int)
    again = clips["a"].read().astype(int)
    assert np.abs(whole - again).mean() < 3
    assert clips["odd"].read().shape[1:3] == (36, 60)


def test_turned_videos_are_upright_and_sound_stays_beside_its_pictures(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    media.write(data / "turned.mp4", times=TIMES, rotation=90)
    late = [0.5 + time for time in TIMES]
    media.write(data / "loud.mov", times=late, wave=media.clicks([1.5], seconds=3, rate=16000))
    packed(data, tmp_path / "out")
    streams = open_streams(str(tmp_path / "out" / "turned.mkv"))
    assert set(streams) == {"video"}
    assert streams["video"].read(Window(0, 1, 1)).shape[1:3] == (48, 36)
    before, after = (
        open_streams(str(path)) for path in (data / "loud.mov", tmp_path / "out" / "loud.mkv")
    )
    waves = [each["audio"].read(Window(1.4, 1.6, 3200)) for each in (before, after)]
    assert np.abs(np.argmax(waves[0]) - np.argmax(waves[1])) <= 16  # a millisecond
    window = Window(1.2, 1.6, 5)
    numbers = [[media.number(f) for f in each["video"].read(window)] for each in (before, after)]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("first", [0.0, 0.6])
@pytest.mark.parametrize("begins", [0.0, 0.03, 1.0, 1.9])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_times_stay_where_sound_begins_late_or_with_silence_of_its_codec(
    name, begins, first, tmp_path
):
    """AAC has packets before its first sample; the files' times were once put off by these."""
    data, times = tmp_path / "data", [first + time for time in TIMES]
    data.mkdir()
    wave = media.clicks([0.5], seconds=1, rate=16000)
    media.write(data / name, times=times, wave=wave, sound="aac", begins=begins)
    packed(data, tmp_path / "out")
    files = (data / name, tmp_path / "out" / "a.mkv")
    before, after = (open_streams(str(file)) for file in files)
    wanted = before["video"].timing().times  # by the file's own clock
    zero = first - wanted[0]
    np.testing.assert_allclose(wanted, np.array(times) - zero, atol=0.0011)
    np.testing.assert_allclose(after["video"].timing().times, wanted, atol=0.0011)
    at = begins + 0.5 - zero
    for each in (before, after):
        wave = each["audio"].read(Window(0, 3, 48000))
        assert abs(np.argmax(np.abs(wave)) / 16000 - at) < 0.0011
    with av.open(str(files[1])) as file:
        pieces = [packet.pts for packet in file.demux(audio=0) if packet.dts is not None]
    assert (np.diff(pieces) > 0).all()


def test_sound_lies_beside_its_pictures_in_the_file(tmp_path):
    """Else a window of sound could only be read by going through all that lies between."""
    data, times = tmp_path / "data", [k / 4 for k in range(100)]
    data.mkdir()
    wave = np.zeros(25 * 16000, np.float32)
    media.write(data / "long.mkv", times=times, wave=wave, sound="aac")
    packed(data, tmp_path / "out")
    last: dict[str, float] = {}
    with av.open(str(tmp_path / "out" / "long.mkv")) as file:
        for packet in file.demux():
            if packet.dts is not None:
                last[packet.stream.type] = float(packet.dts * packet.time_base)
                if len(last) == 2:
                    assert abs(last["video"] - last["audio"]) < 2
    assert min(last.values()) > 24


def test_pixels_are_averaged_where_frames_become_smaller(tmp_path):
    from PIL import Image

    folder = tmp_path / "data" / "a"
    folder.mkdir(parents=True)
    stripes = np.tile(np.array([0, 255], np.uint8), 24)
    for k in range(4):
        frame = np.broadcast_to(stripes[None, :, None], (36, 48, 3))
        Image.fromarray(np.ascontiguousarray(frame)).save(folder / f"{k}.png")
    packed(f"frames:{tmp_path / 'data'}@10", tmp_path / "out", size=18)
    frames = open_streams(str(tmp_path / "out" / "a.mkv"))["video"].read().astype(float)
    assert frames.shape == (4, 18, 24, 3)
    assert np.abs(frames[:, :, 2:-2] - 127.5).max() < 30


def test_folders_stay_and_names_that_meet_are_told_apart(tmp_path):
    data = tmp_path / "data"
    for name in ("run/a.mp4", "run/a.mkv", "walk/a.mp4", "walk/b.c.mp4"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        media.write(data / name, times=TIMES[:6])
    packed(data, tmp_path / "out")
    wanted = ["run/a.mkv.mkv", "run/a.mp4.mkv", "walk/a.mkv", "walk/b.c.mkv"]
    assert below(tmp_path / "out") == wanted
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(str(data / name) for name in ("run/a.mp4", "walk/a.mp4")))
    packed(listed, tmp_path / "other")
    assert below(tmp_path / "other") == ["run/a.mkv", "walk/a.mkv"]


def test_an_interrupted_pack_goes_on_and_what_cannot_be_read_is_left_out(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for k in range(3):
        media.write(data / f"{k}.mp4", times=TIMES[:10])
    (data / "torn.mp4").write_bytes(b"no video")
    first = packed(data, tmp_path / "out")
    assert (first.videos, first.unreadable, first.continued) == (3, 1, 0)
    [line] = (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == str(data / "torn.mp4")
    (tmp_path / "out" / "1.mkv").unlink()
    kept = (tmp_path / "out" / "0.mkv").stat().st_mtime_ns
    again = packed(data, tmp_path / "out")
    assert (again.videos, again.unreadable, again.continued) == (3, 1, 3)
    assert (tmp_path / "out" / "0.mkv").stat().st_mtime_ns == kept
    found = video_doctor(str(tmp_path / "out"), workers=0)
    assert (found.count, found.unreadable) == (3, ())


def test_a_video_that_breaks_on_the_way_leaves_no_file(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    media.write(data / "whole.mp4", times=TIMES, faststart=True)
    content = (data / "whole.mp4").read_bytes()
    at = content.index(b"mdat")
    (data / "cut.mp4").write_bytes(content[: at + (len(content) - at) // 2])
    packed(data, tmp_path / "out")
    assert below(tmp_path / "out") == ["whole.mkv"]
    assert not list((tmp_path / "out").glob(".*.tmp"))


def test_folders_of_frames_become_videos(tmp_path):
    from PIL import Image

    folder = tmp_path / "data" / "a"
    folder.mkdir(parents=True)
    for k in range(10):
        Image.fromarray(media.bars(k, height=36, width=48)).save(folder / f"{k}.png")
    packed(f"frames:{tmp_path / 'data'}@10", tmp_path / "out")
    video = open_streams(str(tmp_path / "out" / "a.mkv"))["video"]
    assert [media.number(frame) for frame in video.read()] == list(range(10))
    assert len(open_media(str(tmp_path / "out"), ("video",))) == 1


def test_the_verb_packs_videos(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    media.write(data / "a.mp4", times=TIMES[:10])
    found = manyviews.pack(str(data), tmp_path / "out", videos=True, workers=0)
    assert found.lines()[0].startswith(f"packed 1 videos into {tmp_path / 'out'}: ")
    with av.open(str(tmp_path / "out" / "a.mkv")) as file:
        assert file.streams.video[0].codec_context.name == "h264"
    with pytest.raises(UsageError, match="are of images"):
        manyviews.pack(str(data), tmp_path / "out", videos=True, quality=80)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 1}, "--size 1 is too few pixels"),
        ({"gop": 0}, "--gop 0 is no number of frames"),
        ({"crf": 60}, "--crf 60 is not from 0 to 51"),
    ],
)
def test_settings_that_cannot_be_are_said_in_a_line(settings, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        packed(tmp_path, tmp_path / "out", **settings)


def test_a_folder_of_something_else_is_not_packed_into(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    media.write(data / "a.mp4", times=TIMES[:10])
    with pytest.raises(UsageError, match="is not empty"):
        packed(data, data)
    packed(data, tmp_path / "out")
    with pytest.raises(UsageError, match=r"a pack with gop 8\. Give the same"):
        packed(data, tmp_path / "out", gop=4)
    media.write(data / "b.mp4", times=TIMES[:10])
    with pytest.raises(UsageError, match="of other data, or the data have changed"):
        packed(data, tmp_path / "out")
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "x.mp4").write_bytes(b"no video")
    with pytest.raises(Failure, match="None of the videos"):
        packed(bad, tmp_path / "none")
