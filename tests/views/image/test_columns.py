"""Images laid out column by column, and bytes transposed eight at a time."""

import numpy as np
import pytest

from manyviews.views.image.columns import PAD, SHORT, columns, columns_size, transpose


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
