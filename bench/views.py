"""Views per second on one core: manyviews, torchvision v2 and lightly, interleaved in one run.

    python bench/views.py [--rounds 7] [--cases simclr32 simclr224 dino] [--json views.json]

Each round times every library once on the same images, so that a machine that slows down slows
all of them; reported are medians over rounds, of speeds and of the ratios within a round. All
thread pools hold one thread. Every library ends with normalised float32 views. JPEGs (500x375,
quality 95, about 85 kB, synthetic) are decoded inside the timing: by torchvision for manyviews,
by Pillow for the others, whose transforms expect its images. lightly is not a dependency of ours:
`pip install lightly` adds its rows and the ratios.
"""

import argparse
import importlib.util
import io
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# ruff: noqa: E402 (thread pools read their size from the environment when they are imported)
for pool in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[pool] = "1"

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import InterpolationMode, v2

from manyviews.views import normalise
from manyviews.views.engine import Engine
from manyviews.views.plan import Crops, Views

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Stored = np.ndarray | bytes
Make = Callable[[Sequence[Stored]], object]


@dataclass(frozen=True)
class Case:
    """What is made of what.

    Attributes:
        plan: the views, for manyviews.
        torchvision: one transform per view.
        lightly: a function that builds lightly's transform.
        images: how many are made per round and library.
        jpeg: whether images are stored as JPEG or as 32x32 arrays.
    """

    plan: Views
    torchvision: Sequence[Callable]
    lightly: Callable[[], Callable]
    images: int
    jpeg: bool

    @property
    def views(self) -> int:
        return self.plan.global_.count + self.plan.local.count


def torchvision_view(crops: Crops, view: int = 0) -> Callable:
    def each(values: tuple[float, ...]) -> float:
        return values[view % len(values)]

    jitter = v2.ColorJitter(crops.brightness, crops.contrast, crops.saturation, crops.hue)
    how = InterpolationMode(crops.interpolation)
    kernel = max(3, crops.size // 10 | 1)  # a tenth of the side, as SimCLR's paper
    steps = [
        v2.RandomResizedCrop(crops.size, scale=crops.scale, interpolation=how),
        v2.RandomHorizontalFlip(crops.flip),
        v2.RandomApply([jitter], p=crops.jitter),
        v2.RandomGrayscale(crops.grey),
        v2.RandomApply([v2.GaussianBlur(kernel, crops.sigma)], p=each(crops.blur)),
        v2.RandomSolarize(128, p=each(crops.solarize)),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]
    return v2.Compose(steps)


def lightly_simclr(size: int, strength: float, blur: float) -> Callable:
    from lightly.transforms import SimCLRTransform

    return SimCLRTransform(input_size=size, cj_strength=strength, gaussian_blur=blur)


def lightly_dino() -> Callable:
    from lightly.transforms import DINOTransform

    return DINOTransform(n_local_views=8)


def cases() -> dict[str, Case]:
    strong = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
    weak = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
    tiny = Crops(size=32, blur=(0.0,), **weak)
    large = Crops(size=224, **strong)
    # lightly's DINOTransform at its defaults: jitter 0.5 * (0.8, 0.8, 0.4, 0.2), bilinear.
    dino = weak | {"saturation": 0.2}
    globals_ = Crops(size=224, scale=(0.4, 1.0), blur=(1.0, 0.1), solarize=(0.0, 0.2), **dino)
    locals_ = Crops(size=96, count=8, scale=(0.05, 0.4), **dino)
    return {
        "simclr32": Case(
            plan=Views(global_=tiny),
            torchvision=[torchvision_view(tiny)] * 2,
            lightly=lambda: lightly_simclr(32, 0.5, 0.0),
            images=512,
            jpeg=False,
        ),
        "simclr224": Case(
            plan=Views(global_=large),
            torchvision=[torchvision_view(large)] * 2,
            lightly=lambda: lightly_simclr(224, 1.0, 0.5),
            images=32,
            jpeg=True,
        ),
        "dino": Case(
            plan=Views(global_=globals_, local=locals_),
            torchvision=[torchvision_view(globals_, view) for view in range(2)]
            + [torchvision_view(locals_)] * 8,
            lightly=lightly_dino,
            images=32,
            jpeg=True,
        ),
    }


def stored_images(case: Case) -> list[Stored]:
    """Soft coloured blobs with grain; the JPEGs are about as large as photographs'."""
    random = np.random.default_rng(0)
    height, width = (375, 500) if case.jpeg else (32, 32)
    images: list[Stored] = []
    for _ in range(case.images):
        coarse = random.integers(0, 256, (height // 8, width // 8, 3)).astype(np.float32)
        soft = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        pixels = np.clip(soft + random.normal(0, 5, soft.shape), 0, 255).astype(np.uint8)
        if case.jpeg:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling="4:2:0")
            images.append(file.getvalue())
        else:
            images.append(pixels)
    return images


def ours(case: Case) -> Make:
    engine = Engine(case.plan, channels=3, seed=0)
    epoch = iter(range(1_000_000))

    def read(stored: Stored) -> np.ndarray:
        if isinstance(stored, np.ndarray):
            return stored
        data = torch.frombuffer(bytearray(stored), dtype=torch.uint8)
        return decode_jpeg(data, mode=ImageReadMode.RGB).permute(1, 2, 0).numpy()

    def make(images: Sequence[Stored]) -> object:
        pictures = [read(stored) for stored in images]
        views, _ = engine(pictures, np.arange(len(images)), next(epoch))
        return [normalise(torch.from_numpy(view), MEAN, STD) for view in views.values()]

    return make


def pillow(transform: Callable[[Image.Image], object]) -> Make:
    def read(stored: Stored) -> Image.Image:
        if isinstance(stored, np.ndarray):
            return Image.fromarray(stored)
        return Image.open(io.BytesIO(stored)).convert("RGB")

    return lambda images: [transform(read(stored)) for stored in images]


def makers(case: Case) -> dict[str, Make]:
    every = {
        "manyviews": ours(case),
        "torchvision": pillow(lambda image: [make(image) for make in case.torchvision]),
    }
    if importlib.util.find_spec("lightly"):
        every["lightly"] = pillow(case.lightly())
    return every


def measure(case: Case, rounds: int) -> dict[str, list[float]]:
    """Library -> views per second in each round."""
    images, every = stored_images(case), makers(case)
    speeds: dict[str, list[float]] = {name: [] for name in every}
    for number in range(rounds + 1):
        for name, make in every.items():
            began = time.perf_counter()
            make(images)
            seconds = time.perf_counter() - began
            if number:  # the first round warms up
                speeds[name].append(case.views * len(images) / seconds)
    return speeds


def rows(name: str, speeds: dict[str, list[float]]) -> list[dict[str, object]]:
    peer = speeds.get("lightly")
    return [
        {
            "case": name,
            "library": library,
            "views_per_second": round(statistics.median(values), 1),
            "ratio_to_lightly": round(
                statistics.median(a / b for a, b in zip(values, peer, strict=True)), 2
            )
            if peer
            else None,
        }
        for library, values in speeds.items()
    ]


def main() -> None:
    known = cases()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cases", nargs="+", choices=list(known), default=list(known))
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    found: list[dict[str, object]] = []
    for name in arguments.cases:
        for row in rows(name, measure(known[name], arguments.rounds)):
            found.append(row)
            ratio = row["ratio_to_lightly"] or "-"
            print(f"{name:10} {row['library']:12} {row['views_per_second']:>10} views/s  {ratio}x")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
