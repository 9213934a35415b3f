"""One view at a time with Pillow and torchvision, slowly: what the engine must agree with."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from manyviews.views.draw import BRIGHTNESS, CONTRAST, SATURATION, Draw
from manyviews.views.image.blur import radius
from manyviews.views.plan import Crops


def apply(image: NDArray[np.uint8], view: Draw, crops: Crops) -> NDArray[np.uint8]:
    """[S, S, C] uint8: one view of an image [H, W, C] uint8.

    Crop and resize are Pillow's; colours are torchvision's on float images, not rounded between
    operations, brightness on every channel and contrast around the plain mean where there are not
    1 or 3 channels; the blur is a true Gaussian (`blur.radius`), mirrored at the borders;
    solarising is on whole levels.
    """
    x = _resized(image, view, crops)
    if view.flip:
        x = tv.horizontal_flip(x)
    if view.jitter:
        for part in view.order:
            x = _adjusted(x, part, view, crops)
    if view.grey and len(x) == 3:
        x = tv.rgb_to_grayscale(x, num_output_channels=3)
    if view.blur:
        x = _blurred(x, view.sigma)
    levels = (x * 255).round().to(torch.uint8)
    if view.solarize:
        levels = tv.solarize(levels, 128)
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())


def _resized(image: NDArray[np.uint8], view: Draw, crops: Crops) -> Tensor:
    pixels = image[view.top : view.top + view.height, view.left : view.left + view.width]
    how = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    planes: list[NDArray[np.uint8]] = []
    for plane in np.moveaxis(pixels, -1, 0):
        # Across, then down: Pillow 13 itself begins with the cheaper one, a level apart at most.
        across = Image.fromarray(plane).resize((crops.size, len(plane)), how[crops.interpolation])
        both = across.resize((crops.size, crops.size), how[crops.interpolation])
        planes.append(np.array(both))
    return torch.from_numpy(np.stack(planes)) / 255


def _adjusted(x: Tensor, part: int, view: Draw, crops: Crops) -> Tensor:
    if part == BRIGHTNESS:
        return _brightened(x, view.brightness) if crops.brightness else x
    if part == CONTRAST:
        return _contrasted(x, view.contrast) if crops.contrast else x
    if len(x) != 3:
        return x
    if part == SATURATION:
        return tv.adjust_saturation(x, view.saturation) if crops.saturation else x
    return tv.adjust_hue(x, view.hue) if crops.hue else x


def _brightened(x: Tensor, factor: float) -> Tensor:
    return torch.cat([tv.adjust_brightness(plane, factor) for plane in x.split(1)])


def _contrasted(x: Tensor, factor: float) -> Tensor:
    if len(x) in (1, 3):
        return tv.adjust_contrast(x, factor)
    return (factor * x + (1 - factor) * x.mean()).clamp(0, 1)


def _blurred(x: Tensor, sigma: float) -> Tensor:
    reach = min(radius(sigma), x.shape[-1] - 1)
    return tv.gaussian_blur(x, [2 * reach + 1] * 2, [sigma] * 2)
