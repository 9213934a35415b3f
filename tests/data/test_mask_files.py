"""Files with a number a pixel, as stored."""

import numpy as np
import pytest
from PIL import Image

from manyviews.core.sample import Unreadable
from manyviews.data.masks import read_mask

NUMBERS = np.arange(12).reshape(3, 4)


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (Image.fromarray(NUMBERS.astype("u1")), NUMBERS),
        (Image.fromarray((NUMBERS * 5000).astype("u2")), NUMBERS * 5000),
        (Image.fromarray(NUMBERS % 2 == 1), NUMBERS % 2),
    ],
)
def test_grey_of_1_8_and_16_bits(tmp_path, image, wanted):
    image.save(tmp_path / "m.png")
    assert np.array_equal(read_mask(str(tmp_path / "m.png"), max_pixels=12), wanted)


def test_of_a_palette_the_places_and_not_the_colours(tmp_path):
    image = Image.new("P", (4, 3))
    image.putpalette([200, 10, 10] * 256)
    image.putdata(NUMBERS.flatten().tolist())
    image.save(tmp_path / "m.png")
    assert np.array_equal(read_mask(str(tmp_path / "m.png"), max_pixels=12), NUMBERS)


def test_what_is_no_mask_says_why(tmp_path):
    path = str(tmp_path / "m.png")
    Image.new("RGBA", (4, 3)).save(path)
    with pytest.raises(Unreadable, match="holds RGBA colours; wanted one number a pixel"):
        read_mask(path, max_pixels=12)
    with pytest.raises(Unreadable, match="4 x 3 pixels are more than --max-pixels 11"):
        read_mask(path, max_pixels=11)
    with pytest.raises(Unreadable, match="cannot be read as a mask"):
        read_mask(str(tmp_path / "none.png"), max_pixels=12)
