"""Folders of tiny images for the tests of this folder."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(i: int, side: int = 16) -> np.ndarray:
    """An image that tells its number: its first pixel is (i // 256, i % 256, 0)."""
    pixels = np.random.default_rng(i).integers(0, 256, (side, side, 3), np.uint8)
    pixels[0, 0] = i // 256, i % 256, 0
    return pixels


def number(image: np.ndarray) -> int:
    return int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])


def folder_of(root: Path, count: int, *, bad: tuple[int, ...] = ()) -> Path:
    """`count` PNG files in name order; those in `bad` hold text."""
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        path = root / f"{i:04d}.png"
        if i in bad:
            path.write_text("no image")
        else:
            Image.fromarray(picture(i)).save(path, compress_level=0)
    return root
