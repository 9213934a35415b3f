"""Videos and sounds as data: what is found, what is left out, what is read."""

import shutil

import numpy as np
import pytest

import media
from manyviews.core import UsageError
from manyviews.core.sample import Unreadable, Window
from manyviews.data.sources import open_data, open_media, open_source
from manyviews.runs.facts import facts

BOTH = ("video", "audio")


@pytest.fixture
def folder(tmp_path):
    """Three clips with sound, one without, a picture's name, and a file that is no video."""
    where = tmp_path / "data"
    media.clips(where, count=3)
    media.write(where / "silent.mp4", times=np.arange(8) / 16)
    (where / "notes.txt").write_text("no clip")
    (where / "broken.mp4").write_bytes(b"abc")
    return where


def names(source):
    return [source.name(i).rpartition("/")[2] for i in range(len(source))]


def test_what_lacks_a_stream_is_left_out_and_what_is_broken_stays_to_be_told_of(folder, caplog):
    caplog.set_level("INFO", "manyviews")
    assert names(open_media(str(folder), BOTH)) == ["00.mkv", "01.mkv", "02.mkv", "broken.mp4"]
    assert "1 files lack a stream and are left out" in caplog.text
    assert "silent.mp4" in names(open_media(str(folder), ("video",)))


def test_both_streams_are_read_by_windows(folder):
    source = open_data(str(folder), BOTH, channels=3, max_pixels=10**6)
    streams = source.open(0)
    assert set(streams) == {"video", "audio"}
    assert streams["video"].read(Window(0.0, 0.5, 8)).shape == (8, 48, 64, 3)
    assert streams["audio"].read(Window(0.0, 0.5, 8000)).shape == (8000,)
    with pytest.raises(Unreadable, match=r"broken.mp4"):
        source.open(3)


def test_a_sound_that_went_away_is_unreadable(folder):
    source = open_media(str(folder), BOTH)
    shutil.copy(folder / "silent.mp4", folder / "00.mkv")
    with pytest.raises(Unreadable) as told:
        source.open(0)
    assert told.value.reason == "has no audio"


def test_the_digest_changes_with_a_file(folder):
    before = open_media(str(folder), BOTH).digest
    assert open_media(str(folder), BOTH).digest == before
    shutil.copy(folder / "silent.mp4", folder / "00.mkv")
    assert open_media(str(folder), ("video",)).digest != before


def test_what_a_recipe_is_told_of_videos(folder):
    seen = facts(str(folder), BOTH)
    assert (seen.count, seen.side, seen.channels) == (4, 48, 3)


@pytest.mark.parametrize(
    ("spec", "streams", "words"),
    [
        ("builtin:fashion", BOTH, "has images alone, and video, audio is wanted"),
        ("{folder}/silent.mp4", BOTH, "is one sample"),
        ("{folder}/nowhere", BOTH, "There is no file or folder"),
        ("{folder}", ("depth",), "There is no stream 'depth'"),
        ("{silent}", BOTH, "None of the 1 files"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_line(folder, tmp_path, spec, streams, words):
    silent = tmp_path / "silent"
    silent.mkdir()
    shutil.copy(folder / "silent.mp4", silent)
    with pytest.raises(UsageError, match=words):
        open_media(spec.format(folder=folder, silent=silent), streams)


def test_a_folder_of_videos_is_none_of_images(folder):
    with pytest.raises(UsageError, match="has no images"):
        open_source(str(folder), channels=3, max_pixels=10**6)
