"""Images laid out column by column, and bytes transposed eight at a time."""

import numpy as np
import pytest

from manyviews.views.image import columns as module
from manyviews.views.image.columns import (
    PAD,
    SHORT,
    SMALL,
    Columns,
    columns,
    columns_size,
    transpose,
)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (32, 32), (33, 7), (130, 61)])
def test_columns_hold_every_pixel(height, width, channels):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, height, width, channels), dtype=np.uint8)
    used = np.full(columns_size(images.shape) + 3, 99, dtype=np.uint8)
    for made in (columns(images), columns(images, used), columns(images[:, :, ::-1][:, :, ::-1])):
        assert np.array_equal(made[:, :width, :, :height], images.transpose(0, 2, 3, 1))
        assert made.shape[3] % PAD == 0
        assert height <= SHORT or made.shape[3] >= height + PAD
    assert (used[-3:] == 99).all()


def test_transpose_turns_bytes():
    source = np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8)
    out = np.zeros((40, 24), dtype=np.uint8)
    transpose(source.view(np.uint64), out.view(np.uint64))
    assert np.array_equal(out, source.T)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (96, 96), (97, 61), (130, 200)])
def test_an_image_that_is_kept_is_laid_once(height, width, channels, monkeypatch):
    shape, how = (height, width, channels), Columns()
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    wanted = columns(image[None])[:, :width, :, :height]
    before = np.full(7, 99, dtype=np.uint8)
    memory = np.concatenate([before, how.lay(image), before])[7:-7]
    assert memory.shape == (how.size(shape),)
    memory.flags.writeable = False
    seen = how.look(memory, shape)
    assert np.array_equal(seen, image)
    filled = []
    real = module._fill
    monkeypatch.setattr(module, "_fill", lambda *a: filled.append(1) or real(*a))
    made = columns(seen[None])
    assert np.array_equal(made[:, :width, :, :height], wanted)
    assert made.shape == columns(image[None]).shape
    assert len(filled) == (1 if max(shape[:2]) > SMALL else 2)


def test_memory_that_ends_with_the_image_is_not_read_beyond():
    image = np.random.default_rng(0).integers(0, 256, (120, 99, 3), dtype=np.uint8)
    laid = Columns().lay(image)
    wide, tall = 104, laid.size // 104 // 3
    for short in (laid[: 99 * 3 * tall].copy(), laid[: wide * 3 * tall - 1].copy()):
        planes = short[: 99 * 3 * tall].reshape(99, 3, tall)
        seen = planes[:, :, :120].transpose(2, 0, 1)
        made = columns(seen[None])
        assert not np.shares_memory(made, short)
        assert np.array_equal(made[:, :99, :, :120], image.transpose(1, 2, 0)[None])


def test_an_image_that_lies_in_rows_amid_other_memory_is_laid_out():
    memory = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8)
    image = memory[7 : 7 + 120 * 99 * 3].reshape(120, 99, 3)
    made = columns(image[None])
    assert np.array_equal(made[:, :99, :, :120], image.transpose(1, 2, 0)[None])
