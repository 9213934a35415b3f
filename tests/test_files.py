"""A file is whole or not there, and a disk that fails is named."""

import errno
import os

import pytest

from manyviews.core import Failure
from manyviews.files import atomic


def test_a_file_appears_when_its_block_has_ended(tmp_path):
    path = tmp_path / "deep" / "file"
    with atomic(path) as draft:
        draft.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["file"]


def test_a_failing_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with (
        pytest.raises(Failure, match=r"Cannot write .*file: No space left on device"),
        atomic(path) as draft,
    ):
        draft.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_failing_disk_leaves_no_half_encoder(tmp_path, monkeypatch):
    from manyviews import encoders
    from manyviews.encoders import file

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    config = encoders.EncoderConfig(name="resnet_small", image_size=8, channels=1, width=4)
    about = file.About(encoder=config, mean=(0.5,), std=(0.5,), resize="", info={})
    with pytest.raises(Failure, match=r"Cannot write .*encoder\.safetensors: No space left"):
        file.write(tmp_path / "encoder.safetensors", encoders.build(config), about)
    assert os.listdir(tmp_path) == []
