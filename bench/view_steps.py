"""Where the time of a view goes, in microseconds on one core: the best of several repeats.

    python bench/view_steps.py [--cases simclr32 simclr224 dino]

Colours and blur are the difference that they make; a view is timed with its family's own
probabilities. What is done once an image (reading, laying out columns) is shared by its views.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from view_libraries import Case, own_reader

from manyviews.core.inputs import IMAGENET_MEAN, IMAGENET_STD, normalise
from manyviews.views.draw import draw, family
from manyviews.views.image.columns import columns
from manyviews.views.image.make import Cutter
from manyviews.views.plan import Crops
from views import cases, stored_images


def best(function: Callable[[], object], repeats: int = 9) -> float:
    """Microseconds."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times) * 1e6


def show(name: str, crops: Crops, number: int, images: list[np.ndarray]) -> None:
    index = np.arange(len(images))
    heights = np.array([len(image) for image in images])
    widths = np.array([image.shape[1] for image in images])

    def drawn(crops: Crops) -> object:
        return draw(
            crops, seed=0, epoch=0, index=index, heights=heights, widths=widths, family=number
        )

    def made(crops: Crops) -> float:
        maker, draws = Cutter(crops, channels=3), drawn(crops)
        scratch = maker.scratch(int(heights.max()), int(widths.max()))
        out = np.empty((len(images), crops.count, crops.size, crops.size, 3), dtype=np.uint8)
        if len({image.shape for image in images}) == 1 and heights.max() <= 96:
            planes = columns(np.stack(images))
            return best(lambda: maker(planes, draws, out, scratch)) / out[..., 0, 0, 0].size
        planes = [columns(image[None]) for image in images]
        each = [draws.take(slice(row, row + 1)) for row in range(len(images))]

        def all_of_them() -> None:
            for row, one in enumerate(planes):
                maker(one, each[row], out[row : row + 1], scratch)

        return best(all_of_them) / out[..., 0, 0, 0].size

    whole, plain = made(crops), replace(crops, solarize=(0.0,), blur=(0.0,))
    sharp = made(plain)
    bare = made(replace(plain, jitter=0.0, grey=0.0))
    views = len(images) * crops.count
    floats = torch.zeros(len(images), crops.count, crops.size, crops.size, 3, dtype=torch.uint8)
    steps = {
        "parameters": best(lambda: drawn(crops)) / views,
        "crop, resize, flip": bare,
        "jitter, grey": sharp - bare,
        "blur, solarise": whole - sharp,
        "to float, normalised": best(lambda: normalise(floats, IMAGENET_MEAN, IMAGENET_STD))
        / views,
    }
    for step, microseconds in steps.items():
        print(f"{name:10} {crops.size:4} px  {step:22} {microseconds:8.1f}")


def case(name: str, case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stored = stored_images(case, Path(folder), None)
        images = [own_reader(one) for one in stored]
        if case.jpeg:
            spent = best(lambda: [own_reader(one) for one in stored])
            print(f"{name:10} an image {'read and decode':22} {spent / len(images):8.1f}")
    if case.jpeg:
        spent = best(lambda: [columns(image[None]) for image in images])
    else:
        stack = np.stack(images)
        spent = best(lambda: columns(stack))
    print(f"{name:10} an image {'columns':22} {spent / len(images):8.1f}")
    for part, crops in case.plan.items():
        show(name, crops, family(part), images)


def main() -> None:
    known = cases()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=list(known), default=list(known))
    torch.set_num_threads(1)
    for name in parser.parse_args().cases:
        case(name, known[name])


if __name__ == "__main__":
    main()
