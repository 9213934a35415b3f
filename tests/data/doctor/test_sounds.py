"""What `doctor` says of a folder of sounds of every kind."""

import json

import numpy as np
import pytest

import manyviews
from manyviews.core import UsageError
from manyviews.data.doctor.sounds import sound_doctor
from manyviews.data.sources import kind_of
from media import sound, write


def wave(seed, *, seconds=1.0, rate=16000):
    """A tone that glides and swells, of its own for each seed, with a little noise."""
    draws = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    hertz = draws.uniform(200, 2500, 4)
    swell = 1 + 0.8 * np.sin(2 * np.pi * draws.uniform(1, 6, (4, 1)) * time)
    parts = swell * np.sin(2 * np.pi * (hertz[:, None] + 300 * time) * time)
    return 0.1 * parts.sum(axis=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("data") / "sounds"
    where.mkdir()
    for i, ending in enumerate(["wav", "flac", "ogg", "mp3", "m4a", "opus"]):
        rate = 48000 if ending == "opus" else 16000
        sound(where / f"good {i}.{ending}", wave(i, rate=rate), rate=rate)
    sound(where / "like 0.mp3", 0.7 * wave(0), rate=16000)
    (where / "same as 1.flac").write_bytes((where / "good 1.flac").read_bytes())
    sound(where / "silent.wav", np.zeros(16000))
    sound(where / "clipped.wav", np.clip(8 * wave(11), -1, 1))
    sound(where / "loud.wav", 20 * wave(12), subtype="FLOAT")
    sound(where / "beside.wav", wave(13) + 0.3)
    sound(where / "cancels.wav", np.stack((wave(14), -wave(14))))
    sound(where / "long.wav", wave(15, seconds=70.0, rate=8000), rate=8000)
    bad = wave(16).astype(np.float32)
    bad[9000] = np.nan
    sound(where / "nan.wav", bad, subtype="FLOAT")
    sound(where / "one.wav", [0.5])
    cut = (where / "good 0.wav").read_bytes()
    (where / "cut.wav").write_bytes(cut[: len(cut) // 4])
    (where / "text.mp3").write_bytes(b"not a sound" * 100)
    (where / "notes.txt").write_text("x")
    return where


@pytest.fixture(scope="module")
def found(folder):
    return sound_doctor(str(folder), workers=0, max_bad=0.5)


def names(paths):
    return [path.rpartition("/")[2] for path in paths]


def test_broken_files_are_told_of_with_reasons(found):
    told = {names([bad.path])[0]: bad.reason for bad in found.unreadable}
    assert set(told) == {"cut.wav", "nan.wav", "one.wav", "text.mp3"}
    assert told["nan.wav"] == "it is nan at 0.562 s"
    assert told["cut.wav"].startswith("it ends at 0.25 s, its header says 1.00 s")
    assert (found.count, found.examined, found.ignored) == (18, 18, {".txt": 1})


def test_every_flaw_is_found_in_the_file_that_has_it_alone(found):
    wanted = {"silent": ["silent.wav"], "loud": ["loud.wav"], "beside zero": ["beside.wav"]}
    wanted |= {"cancelling": ["cancels.wav"], "clipped": ["clipped.wav", "loud.wav"]}
    assert {flaw: names(files) for flaw, files in found.flawed.items()} == wanted
    assert found.flaws == {flaw: len(files) for flaw, files in wanted.items()}


def test_copies_are_found_however_loud_and_in_whatever_format(found):
    assert (found.exact_duplicates, found.near_duplicates) == (1, 1)
    [pair] = found.pairs
    assert names(pair) == ["like 0.mp3", "good 0.wav"]


def test_lengths_rates_channels_and_levels_are_those_of_the_files(found):
    assert found.rates == {"16000": 12, "48000": 1, "8000": 1}
    assert found.channels == {"1": 13, "2": 1}
    assert found.seconds[::2] == (pytest.approx(1.0, abs=0.1), pytest.approx(70.0))
    assert found.hours == pytest.approx(83 / 3600, rel=0.01)
    loud = 20 * np.log10(np.sqrt(np.mean((20 * wave(12)) ** 2)))
    assert found.levels[2] == pytest.approx(loud, abs=0.1)


def test_clipped_samples_are_counted(tmp_path):
    made = np.zeros(16000)
    made[100:110], made[200:202], made[300] = 1.0, -1.0, 1.0
    sound(tmp_path / "a.wav", made)
    assert sound_doctor(str(tmp_path), workers=0).clipped == pytest.approx(10 / 16000)


def test_the_verb_tells_what_it_finds_and_what_to_train(folder, capsys):
    found = manyviews.doctor(str(folder))
    text = "\n".join(found.lines())
    for part in (
        f"{folder}: 18 sounds (manifest ",
        "unreadable: 4 (22.22%), above --data.max-bad 0.01: training would stop",
        "samples a second: 16000: 12, 48000: 1, 8000: 1",
        "channels: 1: 13, 2: 1 (their mean is taken)",
        "1 silent (never above -80 dB)",
        "sounds like",
        f"train: manyviews train audio-simclr --data {folder}",
        "audio_conv on 1 s",
    ):
        assert part in text
    assert json.loads(json.dumps(found.report.to_json()))["flaws"]["silent"] == 1


def test_what_a_folder_is_of_is_what_most_of_its_files_are(folder, tmp_path):
    assert kind_of(str(folder)) == ("audio",)
    assert kind_of("builtin:fashion") == ("image",)
    write(tmp_path / "a.mp4", times=np.arange(8) / 16)
    write(tmp_path / "b.mkv", times=np.arange(8) / 16)
    sound(tmp_path / "a.wav", wave(0))
    assert kind_of(str(tmp_path)) == ("video",)


def test_a_sample_is_a_number_of_files(folder):
    assert sound_doctor(str(folder), workers=0, sample=3).examined == 3
    with pytest.raises(UsageError, match="--sample -1"):
        sound_doctor(str(folder), sample=-1)
