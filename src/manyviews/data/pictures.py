"""One image that a program hands over, as pixels: what a file would have become."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from manyviews.core import UsageError
from manyviews.data.settings import MAX_PIXELS
from manyviews.data.streams import image as decode

Picture = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""An image: its file, a Pillow image, an array of uint8 [H, W] or [H, W, C], or a tensor [C, H, W]
of uint8 or of floats in [0, 1]."""


def pixels(image: Picture, *, channels: int) -> NDArray[np.uint8]:
    """[H, W, channels] uint8 of a file, a Pillow image or an array.

    Raises:
        UsageError: it cannot be read or has other channels.
    """
    if isinstance(image, str | Path):
        try:
            return decode.read(str(image), channels=channels, max_pixels=MAX_PIXELS)
        except decode.Unreadable as error:
            raise UsageError(
                f"{image} cannot be read: {error.reason}. Give another file."
            ) from None
    if isinstance(image, Tensor):
        image = _from_tensor(image)
    if isinstance(image, Image.Image):
        image = _from_pillow(image, channels)
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise UsageError(
            f"An array of {image.dtype} {list(image.shape)} is no image. "
            "Give uint8 [height, width] or [height, width, channels]."
        )
    image = image[..., None] if image.ndim == 2 else image
    found = image.shape[2]
    if found == channels:
        return image
    if (found, channels) == (1, 3):
        return np.repeat(image, 3, axis=2)
    if (found, channels) == (3, 1):
        return np.asarray(Image.fromarray(image).convert("L"))[..., None]
    raise UsageError(f"The image has {found} channels and the encoder takes {channels}.")


def _from_tensor(image: Tensor) -> NDArray[np.uint8]:
    """As torchvision has images: channels first; floats are shares of white."""
    image = image.detach().cpu()
    if image.is_floating_point():
        image = (255 * image).round().clamp(0, 255).to(torch.uint8)
    return np.asarray((image.permute(1, 2, 0) if image.ndim == 3 else image).numpy())


def _from_pillow(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    """As `image.read` treats the same image in a file."""
    if image.mode.startswith(("I", "F")):
        raise UsageError(
            f"A Pillow image of mode {image.mode} has more than 8 bits. Give its file instead."
        )
    image = ImageOps.exif_transpose(image)
    if channels not in (1, 3):
        if image.mode in ("1", "P", "PA"):
            raise UsageError(
                f"A palette image (mode {image.mode}) has no {channels} channels. Convert it first."
            )
        return np.asarray(image)
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    return np.asarray(image.convert("L" if channels == 1 else "RGB"))
