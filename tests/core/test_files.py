"""A file is whole or not there, and a disk that fails is named."""

import errno
import os
import resource
import signal

import numpy as np
import pytest

from forks import run
from manyviews import encoders
from manyviews.core import Failure
from manyviews.core.files import atomic, write_array
from manyviews.core.inputs import Pixels
from manyviews.encoders import file


def names(folder):
    return [path.name for path in folder.iterdir()]


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_appears_when_its_block_has_ended(tmp_path):
    path = tmp_path / "deep" / "file"
    with atomic(path) as draft:
        draft.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(path.parent) == ["file"]


def test_a_failing_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def half():
        with atomic(path) as draft:
            draft.write_text("half")
            full()

    with pytest.raises(Failure, match=r"Cannot write .*file: No space left on device"):
        half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_failing_disk_leaves_no_half_encoder(tmp_path, monkeypatch):
    pixels = Pixels(side=8, channels=1, mean=(0.5,), std=(0.5,))
    config = encoders.ResNetSmallConfig(input=pixels, width=4)
    about = file.About(encoder=config, resize="", info={})
    encoder = encoders.build(config)
    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    with pytest.raises(Failure, match=r"Cannot write .*encoder\.safetensors: No space left"):
        file.write(tmp_path / "encoder.safetensors", encoder, about)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "Free some space or choose another place."),
        (errno.EROFS, "Make that writable or choose another place."),
        (errno.EACCES, "Make that writable or choose another place."),
        (errno.EIO, "Choose another place."),
    ],
)
def test_what_to_do_depends_on_what_the_disk_says(tmp_path, monkeypatch, code, advice):
    def failing(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(Failure) as error, atomic(tmp_path / "file") as draft:
        draft.write_text("half")
    said = f"Cannot write {tmp_path / 'file'}: {os.strerror(code)}. {advice}"
    assert str(error.value) == said


def test_an_array_that_a_full_disk_cuts_off_says_why(tmp_path):
    """A real limit of the kernel, in a child process; numpy alone gives only numbers of items."""

    def action():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))
        with pytest.raises(Failure, match=r"Cannot write .*x\.npy: File too large\. Free some"):
            write_array(tmp_path / "x.npy", np.zeros((100, 7), dtype=np.float32))

    assert run(action) == 0
    assert names(tmp_path) == []
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    for kind in (array, array.T, array[:0]):
        write_array(tmp_path / "x.npy", kind)
        assert np.array_equal(np.load(tmp_path / "x.npy"), kind)
