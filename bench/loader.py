"""Images per second, end to end: from JPEG files or arrays to normalised batches in order.

    python bench/loader.py [--workers 0 1 2] [--rounds 5] [--seconds 2] [--cases jpeg224 array32]
                           [--json]

SimCLR's two views of each image. `manyviews` is the loader that trains, with its workers, order
and normalisation; `lightly` and `torchvision` (v2 transforms) are torch's DataLoader over files or
arrays, batches of the same size, as their examples have it; both decode with Pillow. Each round
runs every library with every number of workers once, in turn, so that a machine that slows down
slows all of them; a run counts from its first batches on until its time is over. Reported are
medians over rounds, and medians of ratios within a round: to one worker, and to lightly with as
many workers. Every process has one thread.

`machine` is the control: the same worker processes with nothing but arithmetic to do, so its ratio
to one worker is what this machine gives at that moment. Processor time an image, m of the main
process and w of the workers (from Linux's /proc), says what two idle cores would make of it: two
workers are then 2 w / (w + m) times as fast as one.

JPEGs are 500x375, quality 92, cut from scikit-learn's two photographs with a little noise
(`pip install scikit-learn`). `--big` measures instead manyviews on 2000x1500 JPEGs, and on the
same after `manyviews pack`, as JPEG and as uint8.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

# ruff: noqa: E402 (thread pools read their size from the environment when they are imported)
for pool in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[pool] = "1"

import cv2
import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from manyviews.core.inputs import IMAGENET_MEAN, IMAGENET_STD, Pixels
from manyviews.core.sample import Source
from manyviews.data import workers as processes
from manyviews.data.loader import batches
from manyviews.data.sources import Stored, open_source
from manyviews.verbs.pack import pack
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Crops

Stream = Iterator[int]
Open = Callable[[int], Stream]
"""Number of workers -> images in each batch, for ever."""


def photographs(folder: Path, count: int, *, width: int, height: int) -> Path:
    """JPEG files: crops of two photographs with grain, every second one mirrored."""
    folder.mkdir(parents=True)
    random, photos = np.random.default_rng(0), load_sample_images().images
    for number in range(count):
        photo = photos[number % len(photos)]
        share = random.uniform(0.6, 1)
        rows, columns = (int(side * share) for side in photo.shape[:2])
        top, left = (
            random.integers(0, side - part + 1)
            for side, part in zip(photo.shape[:2], (rows, columns), strict=True)
        )
        part = photo[top : top + rows, left : left + columns]
        pixels = cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)
        pixels = np.clip(pixels + random.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)
        pixels = np.ascontiguousarray(pixels[:, :: 1 - 2 * (number % 2)])
        Image.fromarray(pixels).save(folder / f"{number:05d}.jpg", quality=92)
    return folder


def ours(source: Source, crops: Crops, size: int, batch: int) -> Open:
    pipeline = Pipeline({"global": crops}, {"image": Fed(Pixels(side=size))}, seed=0)

    def stream(workers: int) -> Stream:
        steps = batches(
            source, pipeline, seed=0, global_batch=batch, start_step=0, stop_step=10**9,
            workers=workers, on_bad=lambda _: None,
        )  # fmt: skip
        for [raw] in steps:
            pipeline.finish(raw.views, raw.cues, raw.index, torch.device("cpu"))
            yield len(raw.index)

    return stream


class Images(Dataset):
    """Files or arrays through a transform of Pillow images: what the peers' examples use."""

    def __init__(self, stored: list[Path] | np.ndarray, transform: Callable) -> None:
        self.stored = stored
        self.transform = transform

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: int) -> object:
        stored = self.stored[index]
        if isinstance(stored, np.ndarray):
            return self.transform(Image.fromarray(stored))
        with Image.open(stored) as image:
            return self.transform(image.convert("RGB"))


def theirs(stored: list[Path] | np.ndarray, transform: Callable, batch: int) -> Open:
    def stream(workers: int) -> Stream:
        data = DataLoader(
            Images(stored, transform), batch_size=batch, shuffle=True, drop_last=True,
            num_workers=workers, persistent_workers=workers > 0,
            worker_init_fn=one_thread,
        )  # fmt: skip
        for epoch in repeat(data):
            for views in epoch:
                yield len(views[0])

    return stream


def one_thread(worker: int) -> None:
    del worker
    torch.set_num_threads(1)


class TwoViews:
    """torchvision's transforms of SimCLR, twice."""

    def __init__(self, size: int, *, strength: float, blur: float) -> None:
        jitter = v2.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
        kernel = max(3, size // 10 | 1)
        self.one = v2.Compose(
            [
                v2.RandomResizedCrop(size),
                v2.RandomHorizontalFlip(),
                v2.RandomApply([jitter], p=0.8),
                v2.RandomGrayscale(0.2),
                v2.RandomApply([v2.GaussianBlur(kernel, (0.1, 2.0))], p=blur),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )

    def __call__(self, image: Image.Image) -> list[torch.Tensor]:
        return [self.one(image), self.one(image)]


def machine() -> Open:
    """Arithmetic in workers, 16 small parts of it called a batch of 16."""
    random = np.random.default_rng(0).random((64, 64), dtype=np.float32)

    def work(item: int) -> int:
        product = random
        for _ in range(400):
            product = random @ product * np.float32(0.03)
        return item

    def stream(workers: int) -> Stream:
        for _ in processes.each(work, range(10**9), workers=workers):
            yield 16

    return stream


def libraries(case: str, folder: Path) -> dict[str, Open]:
    if case == "jpeg224":
        size, strength, blur, batch = 224, 1.0, 0.5, 16
        place = photographs(folder / case, 256, width=500, height=375)
        stored: list[Path] | np.ndarray = sorted(place.iterdir())
        source: Source = open_source(str(place), channels=3, max_pixels=10**8)
    else:
        size, strength, blur, batch = 32, 0.5, 0.0, 256
        stored = np.random.default_rng(0).integers(0, 256, (4096, 32, 32, 3), dtype=np.uint8)
        source = Stored("memory", stored)
    parts = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
    jitter = {name: value * strength for name, value in parts.items()}
    found = {
        "machine": machine(),
        "manyviews": ours(source, Crops(blur=(blur,), **jitter), size, batch),
        "torchvision": theirs(stored, TwoViews(size, strength=strength, blur=blur), batch),
    }
    if importlib.util.find_spec("lightly"):
        from lightly.transforms import SimCLRTransform

        transform = SimCLRTransform(input_size=size, cj_strength=strength, gaussian_blur=blur)
        found["lightly"] = theirs(stored, transform, batch)
    return found


def packed(folder: Path) -> dict[str, Open]:
    """The same large photographs as they are, and packed."""
    place = photographs(folder / "big", 64, width=2000, height=1500)
    places = {"files": place, "pack jpeg": folder / "jpeg", "pack uint8": folder / "uint8"}
    for form in ("jpeg", "uint8"):
        print(*pack(str(place), folder / form, format=form).lines()[:1])
    return {
        name: ours(open_source(str(path), channels=3, max_pixels=10**8), Crops(), 224, 16)
        for name, path in places.items()
    }


@dataclass(frozen=True)
class Speed:
    """Images/s, and milliseconds of processor time an image of the main process and the workers."""

    rate: float
    main: float
    workers: float


def busy() -> float:
    """Seconds of processor time of all worker processes so far; not a number outside Linux."""
    total = 0.0
    for child in multiprocessing.active_children():
        try:
            total += int(Path(f"/proc/{child.pid}/schedstat").read_text().split()[0]) / 1e9
        except OSError:
            return float("nan")
    return total


def speed(open_: Open, workers: int, seconds: float) -> Speed:
    """From after the first batches, those that all workers made while they started."""
    stream = open_(workers)
    for _ in range(1 + 4 * workers):
        next(stream)
    count, own, others, began = 0, time.process_time(), busy(), time.perf_counter()
    while time.perf_counter() - began < seconds or not count:
        count += next(stream)
    rate = count / (time.perf_counter() - began)
    own, others = time.process_time() - own, busy() - others
    stream.close()
    return Speed(rate, 1000 * own / count, 1000 * others / count)


def measure(
    every: dict[str, Open], workers: list[int], rounds: int, seconds: float
) -> dict[tuple[str, int], list[Speed]]:
    found: dict[tuple[str, int], list[Speed]] = {}
    for _ in range(rounds):
        for name, open_ in every.items():
            for number in workers:
                found.setdefault((name, number), []).append(speed(open_, number, seconds))
    return found


def ratio(one: list[Speed], other: list[Speed] | None) -> float | None:
    if other is None:
        return None
    return round(statistics.median(a.rate / b.rate for a, b in zip(one, other, strict=True)), 2)


def row(name: str, number: int, found: dict[tuple[str, int], list[Speed]]) -> dict[str, object]:
    runs = found[name, number]
    rate = statistics.median(run.rate for run in runs)
    main = statistics.median(run.main for run in runs)
    work = statistics.median(run.workers for run in runs)
    return {
        "library": name,
        "workers": number,
        "images_per_second": round(rate, 1),
        "views_per_second": round(2 * rate, 1),
        "main_ms_per_image": round(main, 3),
        "workers_ms_per_image": round(work, 3),
        "ratio_to_one_worker": ratio(runs, found.get((name, 1))),
        "ratio_to_lightly": ratio(runs, found.get(("lightly", number))),
        "ratio_to_files": ratio(runs, found.get(("files", number))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--cases", nargs="+", default=["jpeg224", "array32"])
    parser.add_argument(
        "--libraries", nargs="+", default=["machine", "manyviews", "torchvision", "lightly"]
    )
    parser.add_argument("--big", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as place:
        for case in ["big"] if options.big else options.cases:
            every = packed(Path(place)) if options.big else libraries(case, Path(place))
            if not options.big:
                every = {name: every[name] for name in options.libraries if name in every}
            found = measure(every, options.workers, options.rounds, options.seconds)
            rows += [{"case": case, **row(name, number, found)} for name, number in found]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    heads = ("main ms", "workers ms", "/ 1 worker", "/ lightly", "/ files")
    print(f"{'case':<9}{'library':<13}workers    images/s" + "".join(f"{h:>11}" for h in heads))
    for line in rows:
        names = ("main_ms_per_image", "workers_ms_per_image", "ratio_to_one_worker")
        cells = [line[name] for name in (*names, "ratio_to_lightly", "ratio_to_files")]
        said = "".join(f"{'-' if cell is None else cell:>11}" for cell in cells)
        rate = f"{line['images_per_second']:>12,.1f}"
        print(f"{line['case']:<9}{line['library']:<13}{line['workers']:>7}{rate}{said}")


if __name__ == "__main__":
    main()
