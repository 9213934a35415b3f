import sys

import av
import numpy as np
import pytest
import soundfile

from manyviews.core import UsageError
from manyviews.core.sample import Unreadable, Window
from manyviews.data.streams.audio import Audio, Sound
from manyviews.data.streams.container import Container
from manyviews.data.streams.files import open_streams
from media import clicks, sound, write

SECONDS = (0.5, 1.0, 1.5, 2.0, 2.5)
FRAMES = [k / 25 for k in range(75)]


def when(wave, rate) -> list[float]:
    """Where a wave clicks, in seconds."""
    times = np.flatnonzero(np.abs(wave) > 0.5 * np.abs(wave).max()) / rate
    return times[np.diff(times, prepend=-1) > 0.01].tolist()


def noise(seconds, rate, seed=0) -> np.ndarray:
    wave = np.random.default_rng(seed).standard_normal(round(seconds * rate)).astype(np.float32)
    return np.convolve(wave, np.full(9, 1 / 9, np.float32), "same").clip(-1, 1)


FILES = {
    "mov, PCM": ("clip.mov", 16000, "pcm_s16le"),
    "mp4, AAC": ("clip.mp4", 16000, "aac"),
    "mkv, FLAC": ("clip.mkv", 44100, "flac"),
    "webm, Opus": ("clip.webm", 48000, "libopus"),
}


@pytest.mark.parametrize("kind", FILES)
def test_clicks_are_where_the_clock_of_the_pictures_says(kind, tmp_path):
    name, rate, sound = FILES[kind]
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    wave = clicks(SECONDS, seconds=3, rate=rate)
    path = write(tmp_path / name, times=FRAMES, wave=wave, rate=rate, sound=sound, codec=codec)
    audio = open_streams(path)["audio"]
    assert audio.span == pytest.approx(3.0, abs=0.1)
    np.testing.assert_allclose(when(audio.read(), rate), SECONDS, atol=0.001)
    np.testing.assert_allclose(
        when(audio.read(Window(0.9, 1.7, 12800)), 16000), [0.1, 0.6], atol=0.001
    )


@pytest.mark.parametrize("name", ["wave.wav", "wave.flac", "wave.ogg"])
def test_plain_files_are_read_by_soundfile_and_as_ffmpeg_reads_them(name, tmp_path):
    path = str(tmp_path / name)
    soundfile.write(path, np.stack((noise(2, 16000), noise(2, 16000, 1)), axis=1), 16000)
    sound = open_streams(path)["audio"]
    assert isinstance(sound, Sound)
    other = Audio(Container(path, extra="audio"))
    assert sound.span == pytest.approx(other.span, abs=0.01) == pytest.approx(2.0, abs=0.01)
    for window in (Window(0.0, 2.0, 32000), Window(0.51, 1.01, 4000)):
        np.testing.assert_allclose(sound.read(window), other.read(window), atol=1e-3)


def test_mono_is_the_mean_of_the_channels(tmp_path):
    left, right = noise(1, 8000), noise(1, 8000, 1)
    path = str(tmp_path / "wave.wav")
    soundfile.write(path, np.stack((left, right), axis=1), 8000, subtype="FLOAT")
    np.testing.assert_allclose(open_streams(path)["audio"].read(), (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
def test_full_scale_is_one_whatever_is_stored(subtype, tmp_path):
    wave = np.linspace(-0.9, 0.9, 4000, dtype=np.float32)
    soundfile.write(tmp_path / "wave.wav", wave, 8000, subtype=subtype)
    read = Audio(Container(str(tmp_path / "wave.wav"), extra="audio")).read()
    np.testing.assert_allclose(read, wave, atol=0.01 if subtype == "PCM_U8" else 1e-4)


@pytest.mark.parametrize("name", ["wave.wav", "clip.mov"])
@pytest.mark.parametrize("rate", [44100, 16000, 22050])
def test_a_window_decoded_alone_is_the_slice_of_the_whole(name, rate, tmp_path):
    path = str(tmp_path / name)
    wave = noise(3, 44100)
    if name == "wave.wav":
        soundfile.write(path, wave, 44100)
    else:
        write(path, times=FRAMES, wave=wave, rate=44100)
    whole = open_streams(path)["audio"].read(Window(0.0, 3.0, 3 * rate))
    alone = open_streams(path)["audio"].read(Window(1.0, 2.0, rate))
    assert alone.dtype == np.float32
    np.testing.assert_allclose(alone, whole[rate : 2 * rate], atol=1e-4 if rate != 44100 else 0)


@pytest.mark.parametrize("rate", [16000, 22050, 48000, 12345])
def test_resampling_keeps_a_tone_and_its_phase(rate, tmp_path):
    time = np.arange(3 * 44100) / 44100
    soundfile.write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 440 * time), 44100, "FLOAT")
    start = 1.23456
    made = open_streams(str(tmp_path / "tone.wav"))["audio"].read(Window(start, start + 1, rate))
    assert len(made) == rate
    stored = round(start * 44100) / 44100  # windows begin at a stored sample
    wanted = 0.5 * np.sin(2 * np.pi * 440 * (stored + np.arange(rate) / rate))
    np.testing.assert_allclose(made, wanted, atol=0.02 if rate == 12345 else 1e-3)


@pytest.mark.parametrize("name", ["wave.wav", "clip.mov"])
def test_after_the_end_there_are_zeros(name, tmp_path):
    path = str(tmp_path / name)
    if name == "wave.wav":
        soundfile.write(path, np.full(16000, 0.5), 16000)
    else:
        write(path, times=FRAMES[:25], wave=np.full(16000, 0.5, np.float32))
    audio = open_streams(path)["audio"]
    made = audio.read(Window(0.75, 1.25, 8000))
    np.testing.assert_allclose(made[:4000], 0.5, atol=1e-4)
    assert not made[4000:].any()
    assert not audio.read(Window(5.0, 6.0, 100)).any()


def test_sound_that_begins_late_comes_after_zeros(tmp_path):
    path = str(tmp_path / "late.mov")
    write(path, times=FRAMES, wave=clicks([1.0], seconds=2, rate=16000))
    late = str(tmp_path / "shifted.mov")
    with av.open(path) as old, av.open(late, "w") as new:
        to = {stream: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":  # 0.5 s later than the pictures
                packet.pts, packet.dts = packet.pts + 8000, packet.dts + 8000
            packet.stream = to[packet.stream]
            new.mux(packet)
    audio = open_streams(late)["audio"]
    made = audio.read(Window(0.0, 2.0, 32000))
    assert not made[:8000].any()
    np.testing.assert_allclose(when(made, 16000), [1.5], atol=0.001)


def test_broken_files_are_unreadable_with_a_reason(tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    with pytest.raises(Unreadable, match="no sound"):
        open_streams(str(tmp_path / "none.wav"))["audio"].read()
    (tmp_path / "text.wav").write_bytes(b"not a sound" * 100)
    with pytest.raises(Unreadable, match="of a known kind"):
        open_streams(str(tmp_path / "text.wav"))
    with pytest.raises(Unreadable, match="No such file"):
        open_streams(str(tmp_path / "missing.wav"))


def test_sound_that_was_cut_off_is_unreadable_where_it_is_missing(tmp_path):
    wave = noise(3, 16000)
    write(tmp_path / "whole.mov", times=FRAMES, wave=wave, faststart=True)
    data = (tmp_path / "whole.mov").read_bytes()
    at = data.index(b"mdat")
    (tmp_path / "cut.mov").write_bytes(data[: at + (len(data) - at) // 2])
    audio = open_streams(str(tmp_path / "cut.mov"))["audio"]
    assert audio.read(Window(0.0, 1.0, 16000)).any()
    with pytest.raises(Unreadable):
        audio.read(Window(2.0, 3.0, 16000))


@pytest.mark.parametrize(("module", "rate"), [("soundfile", 16000), ("soxr", 8000)])
def test_a_missing_package_says_what_to_install(module, rate, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "wave.wav", noise(1, 16000), 16000)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=r"Install it: .* -m pip install '"):
        open_streams(str(tmp_path / "wave.wav"))["audio"].read(Window(0.0, 1.0, rate))


def tone(seconds=1.0, rate=16000, hertz=440.0, level=0.5):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize(
    "wave",
    [np.zeros(16000), np.clip(3 * tone(), -1, 1), 0.3 * tone() + 0.5],
    ids=["silence", "clipped", "beside zero"],
)
def test_silence_clipping_and_a_mean_that_is_not_zero_are_read_as_they_are(wave, tmp_path):
    path = sound(tmp_path / "wave.wav", wave, subtype="FLOAT")
    read = open_streams(path)["audio"].read(Window(0.0, 1.0, 16000))
    np.testing.assert_allclose(read, wave, atol=1e-6)


def test_floats_beyond_full_scale_are_read_as_they_are(tmp_path):
    path = sound(tmp_path / "wave.wav", tone(level=40.0), subtype="FLOAT")
    assert open_streams(path)["audio"].read().max() == pytest.approx(40.0, rel=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e20])
@pytest.mark.parametrize("name", ["wave.wav", "clip.mov"])
def test_what_is_no_number_is_unreadable_where_it_is(bad, name, tmp_path):
    wave = tone(2.0).astype(np.float32)
    wave[24000] = bad
    path = str(tmp_path / name)
    if name == "wave.wav":
        sound(tmp_path / name, np.stack((tone(2.0), wave)), subtype="FLOAT")
    else:
        write(path, times=FRAMES[:50], wave=wave, sound="pcm_f32le")
    audio = open_streams(path)["audio"]
    assert audio.read(Window(0.0, 1.0, 8000)).any()
    with pytest.raises(Unreadable, match=r"it is (nan|inf|1e\+20) at 1\.500 s"):
        audio.read(Window(1.0, 2.0, 8000))


@pytest.mark.parametrize("name", ["wave.wav", "wave.flac", "wave.ogg"])
def test_one_sample_is_no_sound(name, tmp_path):
    path = sound(tmp_path / name, [0.5])
    with pytest.raises(Unreadable, match=r"its 1 samples last 0\.0625 ms, and 25 ms are"):
        open_streams(path)
    assert open_streams(sound(tmp_path / f"more {name}", tone(0.03)))["audio"].span > 0.025


def test_a_rate_that_no_sound_has_is_unreadable(tmp_path):
    path = tmp_path / "wave.wav"
    for rate in (0, 7, 4_000_000_000):
        sound(path, tone())
        data = bytearray(path.read_bytes())
        data[24:28] = rate.to_bytes(4, "little")
        path.write_bytes(data)
        with pytest.raises(Unreadable):
            open_streams(str(path))


@pytest.mark.parametrize("name", ["wave.wav", "wave.flac", "wave.mp3", "wave.m4a"])
def test_a_file_cut_off_is_unreadable_where_it_is_missing(name, tmp_path):
    path = tmp_path / name
    sound(path, noise(4, 44100), rate=44100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(Unreadable) as told:
        open_streams(str(path))["audio"].read(Window(3.0, 4.0, 16000))
    assert "\n" not in told.value.reason
    if name == "wave.wav":
        assert told.value.reason == "it ends at 2.00 s, its header says 4.00 s; copy it again"
        assert open_streams(str(path))["audio"].read(Window(0.5, 1.5, 16000)).any()


def test_a_length_that_a_pipe_could_not_know_is_what_there_is(tmp_path):
    path = tmp_path / "wave.wav"
    sound(path, tone())
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff" * 4
    path.write_bytes(data)
    assert open_streams(str(path))["audio"].span == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.m4a", "a.opus"])
def test_every_kind_of_file_gives_the_mean_of_its_channels(name, tmp_path):
    rate = 48000
    left, right = tone(2.0, rate, 500.0), tone(2.0, rate, 900.0, 0.25)
    audio = open_streams(sound(tmp_path / name, np.stack((left, right)), rate=rate))["audio"]
    assert (audio.header.rate, audio.header.channels) == (rate, 2)
    assert audio.span == pytest.approx(2.0, abs=0.1)
    read = audio.read(Window(0.5, 1.5, 16000))
    power = np.abs(np.fft.rfft(read))
    assert set(np.argsort(power)[-2:]) == {500, 900}
    np.testing.assert_allclose(power[[500, 900]] / 8000, [0.25, 0.125], rtol=0.05)
    assert audio.channels(0.5, 1.5).shape == (2, rate)


@pytest.mark.parametrize(("rate", "hertz"), [(44100, 9000.0), (48000, 12000.0), (32000, 8500.0)])
def test_what_the_lower_rate_cannot_hold_is_60_db_down(rate, hertz, tmp_path):
    """A tone above half of 16 kHz would come back below it, as an alias, if it were let through."""
    path = sound(tmp_path / "wave.wav", tone(2.0, rate, hertz), rate=rate, subtype="FLOAT")
    read = open_streams(path)["audio"].read(Window(0.5, 1.5, 16000))
    assert 20 * np.log10(np.sqrt(np.mean(read**2)) / (0.5 / np.sqrt(2))) < -60


@pytest.mark.parametrize(
    ("rate", "to"), [(44100, 16000), (48000, 16000), (22050, 16000), (8000, 16000)]
)
def test_a_resampled_tone_is_the_tone(rate, to, tmp_path):
    path = sound(tmp_path / "wave.wav", tone(2.0, rate, 1000.0), rate=rate, subtype="FLOAT")
    read = open_streams(path)["audio"].read(Window(0.5, 1.5, to))
    wanted = tone(2.0, to, 1000.0)[to // 2 : to // 2 + to]
    assert 20 * np.log10(np.abs(read - wanted).max() / 0.5) < -80
