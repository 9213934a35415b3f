"""A shifted copy of the built-in Fashion-MNIST: inverted, turned by about 30 degrees, dull, noisy.

    python bench/shifted.py OUT --count 1000

writes OUT/images, unlabelled, and OUT/labelled/{train,test}/CLASS: the same images and the test
images, for measuring only. docs/experiments/adapt.md adapts an encoder of the originals to it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from manyviews.data.sources import BUILTIN
from manyviews.evaluation.labelled import open_labelled

SIDE = 28


def shifted(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """One image [28, 28] altered: light for dark, turned, blurred, less contrast, noise."""
    middle = (SIDE / 2 - 0.5,) * 2
    turn = cv2.getRotationMatrix2D(middle, 30 + 10 * random.standard_normal(), 1.0)
    x: Any = cv2.warpAffine(
        255.0 - image.astype(np.float32), turn, (SIDE, SIDE), borderValue=(255.0,)
    )
    x = cv2.GaussianBlur(x, (0, 0), 0.8) * 0.6 + 40 + 20 * random.standard_normal(x.shape)
    return np.clip(x, 0, 255).astype(np.uint8)


def main(args: Sequence[str] | None = None) -> None:
    """Write both folders."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=1000, help="training images")
    parser.add_argument("--test", type=int, default=2000, help="test images")
    given = parser.parse_args(args)
    random = np.random.default_rng(0)
    for split, count in (("train", given.count), ("test", given.test)):
        part = open_labelled(BUILTIN, channels=1, max_pixels=10**6, split=split)
        for i in range(min(count, len(part))):
            name = part.classes[int(part.labels[i])].replace("/", "-")
            image = shifted(part.source.read(i)[..., 0], random)
            folders = [given.out / "labelled" / split / name]
            folders += [given.out / "images"] * (split == "train")
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(folder / f"{i:05}.png")


if __name__ == "__main__":
    main()
