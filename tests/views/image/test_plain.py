"""The fixed view of evaluation, and normalisation."""

import resource

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from manyviews.core.inputs import Pixels, normalise
from manyviews.views.image.plain import Plain, resize

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def picture(height, width, channels=3):
    random = np.random.default_rng(0)
    return random.integers(0, 256, (height, width, channels), dtype=np.uint8)


def plain(size, channels=3):
    mean, std = (MEAN[:channels], STD[:channels]) if channels <= 3 else ((0.5,), (0.25,))
    return Plain(Pixels(side=size, channels=channels, mean=mean, std=std))


@pytest.mark.parametrize(("height", "width"), [(129, 171), (171, 129), (60, 50), (257, 255)])
def test_photographs_are_resized_and_cut_as_torchvision_does(height, width):
    image = picture(height, width)
    theirs = v2.Compose([v2.Resize(112 * 256 // 224, antialias=True), v2.CenterCrop(112)])
    wanted = np.array(theirs(Image.fromarray(image))).astype(np.int64)
    ours = plain(112).uint8([image])
    assert ours.shape == (1, 112, 112, 3)
    assert np.abs(ours[0] - wanted).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_thumbnails_keep_their_borders(channels):
    image = picture(40, 50, channels)
    pils = [Image.fromarray(image[..., channel]) for channel in range(channels)]
    wanted = [np.array(pil.resize((32, 32), Image.Resampling.BILINEAR), np.int64) for pil in pils]
    ours = plain(32, channels).uint8([image])[0]
    assert np.abs(ours - np.stack(wanted, axis=-1)).max() <= 1


@pytest.mark.parametrize("size", [32, 100])
def test_each_channel_of_many_is_as_if_it_were_alone(size):
    image = picture(140, 150, 7)
    mean, std = (tuple(np.linspace(low, low + 0.6, 7)) for low in (0.1, 0.2))
    whole = Plain(Pixels(side=size, channels=7, mean=mean, std=std))([image])
    for c in range(7):
        fed = Pixels(side=size, channels=1, mean=mean[c : c + 1], std=std[c : c + 1])
        alone = Plain(fed)
        torch.testing.assert_close(whole[:, c : c + 1], alone([image[..., c : c + 1]]))


@pytest.mark.parametrize(("height", "width"), [(20, 320), (320, 20), (17, 90), (1, 16), (40, 41)])
@pytest.mark.parametrize("size", [96, 97, 224])
def test_nothing_is_cut_off_before_the_resize_up_to_sixteen_times_the_side(height, width, size):
    """To the bit what resizing all of it and then cutting gives."""
    image = picture(height, width)
    short = size * 256 // 224
    scale = short / min(height, width)
    sides = (short, int(scale * width)) if height <= width else (int(scale * height), short)
    whole = resize(image, height=sides[0], width=sides[1], interpolation="bilinear")
    top, left = (round((side - size) / 2) for side in sides)
    wanted = whole[top : top + size, left : left + size]
    assert np.array_equal(plain(size).uint8([image])[0], wanted)


@pytest.mark.parametrize("upright", [False, True])
def test_a_line_of_pixels_costs_no_more_than_its_middle_and_shows_it(upright):
    """1 x 16000 pixels would be 256 x 4,096,000: a minute and 6 GiB."""
    line = np.repeat(np.arange(16_000) // 100, 3).reshape(1, -1, 3).astype(np.uint8)
    image = line.transpose(1, 0, 2) if upright else line
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    view = plain(224).uint8([image])[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes
    values = view[:, 0, 0] if upright else view[0, :, 0]
    assert (values[0], values[-1]) == (79, 80)  # 0.44 of a pixel on either side of 8000


def test_an_image_of_the_right_size_is_untouched():
    image = picture(32, 32)
    assert np.array_equal(plain(32).uint8(image[None])[0], image)


def test_images_of_any_size_do_not_depend_on_their_batch():
    pictures = [picture(40, 50), picture(300, 40), picture(96, 96)]
    for size in (24, 96):
        together = plain(size).uint8(pictures)
        for row, one in zip(together, pictures, strict=True):
            assert np.array_equal(plain(size).uint8([one])[0], row)


def test_a_call_normalises_to_channels_first_in_channels_last_memory():
    made = plain(32)([picture(32, 32)])
    assert made.shape == (1, 3, 32, 32)
    assert made.is_contiguous(memory_format=torch.channels_last)
    wanted = v2.functional.normalize(
        v2.functional.to_dtype(v2.functional.to_image(picture(32, 32)), torch.float32, scale=True),
        list(MEAN),
        list(STD),
    )
    torch.testing.assert_close(made[0], wanted.as_subclass(torch.Tensor))


def test_normalise_takes_any_leading_dimensions_and_one_number_for_all_channels():
    images = torch.randint(0, 256, (2, 3, 5, 7, 3), dtype=torch.uint8)
    made = normalise(images, (0.5,), (0.25,))
    assert made.shape == (2, 3, 3, 5, 7)
    torch.testing.assert_close(made, (images.movedim(-1, -3) / 255 - 0.5) / 0.25)
    each = normalise(images, MEAN, STD)
    for channel in range(3):
        wanted = (images[..., channel] / 255 - MEAN[channel]) / STD[channel]
        torch.testing.assert_close(each[:, :, channel], wanted)
