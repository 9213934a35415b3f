"""A file is whole or not there, and a disk that fails is named."""

import errno
import os

import pytest

from manyviews import encoders
from manyviews.core import Failure
from manyviews.encoders import file
from manyviews.files import atomic


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
    config = encoders.EncoderConfig(name="resnet_small", image_size=8, channels=1, width=4)
    about = file.About(encoder=config, mean=(0.5,), std=(0.5,), resize="", info={})
    encoder = encoders.build(config)
    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    with pytest.raises(Failure, match=r"Cannot write .*encoder\.safetensors: No space left"):
        file.write(tmp_path / "encoder.safetensors", encoder, about)
    assert names(tmp_path) == []
