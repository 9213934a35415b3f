"""Views per second on one core: manyviews against other libraries, interleaved in one run.

    python bench/views.py [--rounds 7] [--cases simclr32 simclr224 dino] [--libraries NAME ...]
                          [--jpegs FOLDER] [--peer-python VENV/bin/python] [--workers]
                          [--json views.json]

Each round times every library once on the same images, so that a machine that slows down slows
all of them; reported are medians over rounds, of speeds and of the ratios to lightly within a
round. All thread pools hold one thread. Every library ends with normalised float32 views. JPEGs
(500x375, quality 95, 4:2:0, about 90 kB, synthetic; or those of `--jpegs`) are decoded inside the
timing, as each library's users do: manyviews through its own reader, torchvision and lightly by
Pillow, albumentations by OpenCV. kornia works on batches of float images, which torchvision
decodes; its loading has to resize photographs to one size first, so they are all of one size here.
"decode" is the floor: reading and decoding alone, by manyviews' reader, and as many views.

From JPEGs manyviews has three rows: "manyviews" decodes in every epoch (`--data.store off`),
"first-epoch" decodes and keeps the images, in a new store in every round, and "later-epochs" finds
them there. The last column is how many images were decoded, of those that were made into views.

Only torchvision is a dependency of manyviews; `pip install lightly albumentations kornia` adds
the other rows, here or in another environment that has manyviews' dependencies too: `--peer-python`
is its interpreter, which makes a round whenever it is asked for one. solo-learn's pipeline is
torchvision's with other defaults, and its package does not install beside a current torch (it pins
1.9.1), so it has no row.

`--workers` times manyviews alone with one worker process and with two, and beside it a loop of
additions with one and with two: what the machine grants to a second process at that moment.
"""

import argparse
import importlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# ruff: noqa: E402 (thread pools read their size from the environment when they are imported)
for pool in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[pool] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import cv2
import numpy as np
import torch
from PIL import Image
from view_libraries import LIBRARIES, OWN, Case, Stored

from manyviews.core.inputs import Pixels
from manyviews.core.sample import Source
from manyviews.data.loader import batches
from manyviews.data.sources import Stored as InMemory
from manyviews.data.sources import open_source
from manyviews.data.workers import each
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Crops

_BATCHES = 48
PEERS = [name for name in LIBRARIES if name not in OWN]


def cases() -> dict[str, Case]:
    from_lightly = importlib.import_module
    strong = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
    weak = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
    # lightly's DINOTransform at its defaults: jitter 0.5 * (0.8, 0.8, 0.4, 0.2), bilinear.
    dino = weak | {"saturation": 0.2}
    globals_ = Crops(size=224, scale=(0.4, 1.0), blur=(1.0, 0.1), solarize=(0.0, 0.2), **dino)
    locals_ = Crops(size=96, count=8, scale=(0.05, 0.4), **dino)

    def simclr(size: int, strength: float, blur: float) -> Callable:
        make = from_lightly("lightly.transforms").SimCLRTransform
        return make(input_size=size, cj_strength=strength, gaussian_blur=blur)

    return {
        "simclr32": Case(
            plan={"global": Crops(size=32, blur=(0.0,), **weak)},
            lightly=lambda: simclr(32, 0.5, 0.0),
            images=1024,
            batch=256,
            jpeg=False,
        ),
        "simclr224": Case(
            plan={"global": Crops(size=224, **strong)},
            lightly=lambda: simclr(224, 1.0, 0.5),
            images=32,
            batch=32,
            jpeg=True,
        ),
        "dino": Case(
            plan={"global": globals_, "local": locals_},
            lightly=lambda: from_lightly("lightly.transforms").DINOTransform(n_local_views=8),
            images=16,
            batch=16,
            jpeg=True,
        ),
    }


def pictures(count: int, height: int, width: int) -> list[np.ndarray]:
    """Soft coloured blobs with grain, more of it in lightness than in colour."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        coarse = random.integers(0, 256, (height // 12, width // 12, 3)).astype(np.float32)
        soft = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        grain = random.normal(0, 3.2, (height, width, 1)) + random.normal(0, 1, soft.shape)
        made.append(np.clip(soft + grain, 0, 255).astype(np.uint8))
    return made


def stored_images(case: Case, folder: Path, jpegs: Path | None) -> list[Stored]:
    if not case.jpeg:
        return list(np.stack(pictures(case.images, 32, 32)))
    if jpegs:
        found = sorted(
            path for path in jpegs.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")
        )
        return [found[i * len(found) // case.images] for i in range(case.images)]
    paths = [folder / f"{number}.jpg" for number in range(case.images)]
    for path, picture in zip(paths, pictures(case.images, 375, 500), strict=True):
        Image.fromarray(picture).save(path, "JPEG", quality=95, subsampling="4:2:0")
    return paths


class Peer:
    """Libraries of another environment, in a process of its own that makes a round when asked."""

    def __init__(self, python: str, case: str, images: list[Stored]) -> None:
        paths = [str(image) for image in images if isinstance(image, Path)]
        self._process = subprocess.Popen(
            [python, __file__, "--serve", case, *paths],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def seconds(self, name: str) -> float:
        """Of one round of a library."""
        print(name, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def serve(name: str, paths: Sequence[str]) -> None:
    """Be a `Peer`: for each library's name that is read, write how long a round takes."""
    case = cases()[name]
    images = [Path(path) for path in paths] or stored_images(case, Path(), None)
    made: dict[str, Callable] = {}
    for line in sys.stdin:
        library = line.strip()
        make = made.setdefault(library, LIBRARIES[library](case))
        began = time.perf_counter()
        make(images)
        print(time.perf_counter() - began, flush=True)


@dataclass
class Measured:
    """Of one library: views per second in each round, images that it decoded, and in all."""

    speeds: list[float] = field(default_factory=list)
    decoded: int = 0
    images: int = 0


def measure(
    name: str, case: Case, names: Sequence[str], rounds: int, images: list[Stored], python: str
) -> dict[str, Measured]:
    """Every library's rounds, taking turns; the first, which warms up, is not counted."""
    names = [name for name in names if case.jpeg or name in ("manyviews", *PEERS)]
    here = {library: LIBRARIES[library](case) for library in names if is_here(library)}
    peer = Peer(python, name, images) if len(here) < len(names) else None
    found = {library: Measured() for library in names}
    for number in range(rounds + 1):
        for library, one in found.items():
            before = getattr(here.get(library), "decoded", 0)
            if library in here:
                began = time.perf_counter()
                here[library](images)
                seconds = time.perf_counter() - began
            elif peer is not None:
                seconds = peer.seconds(library)
            if number:
                one.speeds.append(len(case.views()) * len(images) / seconds)
                one.decoded += getattr(here.get(library), "decoded", len(images)) - before
                one.images += len(images)
    if peer is not None:
        peer.close()
    return found


def rows(name: str, measured: dict[str, Measured], *, jpeg: bool) -> list[dict[str, object]]:
    peer = measured.get("lightly")
    return [
        {
            "case": name,
            "library": library,
            "views_per_second": round(statistics.median(one.speeds), 1),
            "ratio_to_lightly": round(
                statistics.median(a / b for a, b in zip(one.speeds, peer.speeds, strict=True)), 2
            )
            if peer
            else None,
            "decoded": f"{one.decoded} of {one.images}" if jpeg else None,
        }
        for library, one in measured.items()
    ]


def spin(_: int) -> int:
    """Work that needs a core and nothing else."""
    return sum(range(10_000_000))


def pulled(make: Callable[[int], Iterator[object]], count: int) -> float:
    """Results per second of worker processes, once every worker runs."""
    made = make(count)
    for _ in range(2 * count):
        next(made)
    began = time.perf_counter()
    left = sum(1 for _ in made)
    return left / (time.perf_counter() - began)


def workers(name: str, case: Case, rounds: int, images: list[Stored]) -> list[dict[str, object]]:
    """Views of manyviews, uint8, as the training process gets them from one and two workers."""
    pipeline = Pipeline(case.plan, {"image": Fed(Pixels())}, seed=0)
    source: Source = (
        open_source(str(Path(str(images[0])).parent), channels=3, max_pixels=10**8)
        if case.jpeg
        else InMemory("memory", np.stack(images))
    )

    def views(count: int) -> Iterator[object]:
        return batches(
            source, pipeline, seed=0, global_batch=len(images), start_step=0, stop_step=_BATCHES,
            workers=count, on_bad=lambda _: None,
        )  # fmt: skip

    def spins(count: int) -> Iterator[object]:
        return each(spin, range(_BATCHES), workers=count)

    gains: dict[str, list[float]] = {"views": [], "spin": []}
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        gains["spin"].append(pulled(spins, 2) / pulled(spins, 1))
        for count in speeds:
            speeds[count].append(len(case.views()) * len(images) * pulled(views, count))
        gains["views"].append(speeds[2][-1] / speeds[1][-1])
    gain, most = (statistics.median(gains[kind]) for kind in ("views", "spin"))
    print(f"{name:10} two workers make {gain:.2f}x the views of one (and add {most:.2f}x as fast)")
    return [
        {
            "case": f"{name}-workers",
            "library": f"manyviews, {count} worker{'s' if count > 1 else ''}",
            "views_per_second": round(statistics.median(values), 1),
            "ratio_to_lightly": None,
        }
        for count, values in speeds.items()
    ]


def is_here(library: str) -> bool:
    """Whether this environment has it."""
    return library in OWN or importlib.util.find_spec(library) is not None


def has(python: str, library: str) -> bool:
    """Whether another interpreter has it."""
    code = f"import importlib.util as u; raise SystemExit(u.find_spec({library!r}) is None)"
    return bool(python) and subprocess.run([python, "-c", code], check=False).returncode == 0


def main() -> None:
    warnings.filterwarnings("ignore")
    known = cases()
    if sys.argv[1:2] == ["--serve"]:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        serve(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cases", nargs="+", choices=list(known), default=list(known))
    parser.add_argument("--libraries", nargs="+", choices=list(LIBRARIES))
    parser.add_argument("--jpegs", type=Path, help="use the JPEG files of this folder")
    parser.add_argument("--peer-python", default="", help="an interpreter that has the others")
    parser.add_argument("--workers", action="store_true", help="time one and two workers instead")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    python = arguments.peer_python
    names = arguments.libraries or [
        each for each in LIBRARIES if is_here(each) or has(python, each)
    ]
    found: list[dict[str, object]] = []
    for name in arguments.cases:
        with tempfile.TemporaryDirectory() as folder:
            images = stored_images(known[name], Path(folder), arguments.jpegs)
            if arguments.workers:
                found += workers(name, known[name], arguments.rounds, images)
                continue
            measured = measure(name, known[name], names, arguments.rounds, images, python)
        for row in rows(name, measured, jpeg=known[name].jpeg):
            found.append(row)
            ratio = row["ratio_to_lightly"] or "-"
            said = f"{row['views_per_second']:>10} views/s {ratio:>6}x  {row['decoded'] or ''}"
            print(f"{name:10} {row['library']:14} {said}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
