"""What `views.py` compares: each library's views, as its users would write them."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.io import decode_jpeg
from torchvision.transforms import InterpolationMode, v2

from manyviews.core.inputs import IMAGENET_MEAN, IMAGENET_STD, normalise
from manyviews.core.sample import Stream
from manyviews.data.manifest import File, Manifest
from manyviews.data.sources import Files
from manyviews.data.store import Kept, create
from manyviews.data.streams.image import read
from manyviews.views.image.columns import Columns
from manyviews.views.image.engine import Engine
from manyviews.views.plan import Crops

Stored = np.ndarray | Path
Make = Callable[[Sequence[Stored]], object]


@dataclass(frozen=True)
class Case:
    """What is made of what.

    Attributes:
        plan: family -> its views, for manyviews, and as torchvision, albumentations and kornia are
            told.
        lightly: a function that builds lightly's transform.
        images: how many are made per round and library.
        batch: how many at a time, by the libraries that work on batches.
        jpeg: whether images are JPEG files or 32x32 arrays.
    """

    plan: Mapping[str, Crops]
    lightly: Callable[[], Callable]
    images: int
    batch: int
    jpeg: bool

    def views(self) -> list[tuple[Crops, float, float]]:
        """Of each view: its family, and its probabilities of blur and of solarising."""
        return [
            (crops, crops.blur[view % len(crops.blur)], crops.solarize[view % len(crops.solarize)])
            for crops in self.plan.values()
            for view in range(crops.count)
        ]


def own_reader(stored: Stored) -> np.ndarray:
    if isinstance(stored, np.ndarray):
        return stored
    if isinstance(stored, Position):
        return stored.source.open(stored.number)["image"].read()
    return read(str(stored), channels=3, max_pixels=200_000_000)


def as_pillow(stored: Stored) -> Image.Image:
    if isinstance(stored, np.ndarray):
        return Image.fromarray(stored)
    return Image.open(io.BytesIO(stored.read_bytes())).convert("RGB")


def manyviews(case: Case) -> Make:
    engine = Engine(case.plan, channels=3, seed=0)
    epoch = iter(range(1_000_000))

    def batch(images: Sequence[Stored]) -> object:
        whole = np.stack(images) if not case.jpeg else [own_reader(stored) for stored in images]
        views = engine(whole, np.arange(len(images)), next(epoch))
        return [
            normalise(torch.from_numpy(view), IMAGENET_MEAN, IMAGENET_STD)
            for view in views.values()
        ]

    return lambda images: [
        batch(images[first : first + case.batch]) and None
        for first in range(0, len(images), case.batch)
    ]


class FromStore:
    """manyviews through its store of decoded images: while it is filled, or when it is full.

    Attributes:
        decoded: images, so far.
    """

    def __init__(self, case: Case, *, later: bool) -> None:
        self._make, self._later = manyviews(case), later
        self._case, self.decoded = case, 0
        self._used: list[Kept] = []  # none is let go of while the clock runs

    def __call__(self, images: Sequence[Stored]) -> None:
        if not self._used or not self._later:
            inner = Counted([str(image) for image in images], self)
            largest = 4 * max(own_reader(image).nbytes for image in images[:1])
            held = create(len(images), channels=3, largest=largest, budget=10**10, how=Columns())
            self._used.append(Kept(inner, held))
        kept = self._used[-1]
        self._make([Position(kept, number) for number in range(len(images))])


@dataclass(frozen=True)
class Position:
    """An image of a source."""

    source: Kept
    number: int


class Counted(Files):
    """Image files that say how many of them were decoded."""

    def __init__(self, paths: list[str], told: FromStore) -> None:
        manifest = Manifest(Path(), tuple(File(path, 0, 0) for path in paths), {})
        super().__init__("bench", manifest, channels=3, max_pixels=200_000_000)
        self._told = told

    def open(self, index: int) -> Mapping[str, Stream]:
        self._told.decoded += 1
        return super().open(index)


def decode(_: Case) -> Make:
    return lambda images: [own_reader(stored) for stored in images] and None


def lightly(case: Case) -> Make:
    transform = case.lightly()
    return lambda images: [transform(as_pillow(stored)) for stored in images]


def torchvision(case: Case) -> Make:
    def view(crops: Crops, blur: float, solarize: float) -> Callable:
        jitter = v2.ColorJitter(crops.brightness, crops.contrast, crops.saturation, crops.hue)
        how = InterpolationMode(crops.interpolation)
        kernel = max(3, crops.size // 10 | 1)  # a tenth of the side, as SimCLR's paper
        steps = [
            v2.RandomResizedCrop(crops.size, scale=crops.scale, interpolation=how),
            v2.RandomHorizontalFlip(crops.flip),
            v2.RandomApply([jitter], p=crops.jitter),
            v2.RandomGrayscale(crops.grey),
            v2.RandomApply([v2.GaussianBlur(kernel, crops.sigma)], p=blur),
            v2.RandomSolarize(128, p=solarize),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
        return v2.Compose(steps)

    views = [view(*one) for one in case.views()]
    return lambda images: [[make(image) for make in views] for image in map(as_pillow, images)]


def albumentations(case: Case) -> Make:
    """Its resize is OpenCV's, without antialiasing."""
    import albumentations as A
    from albumentations.pytorch import ToTensorV2

    def view(crops: Crops, blur: float, solarize: float) -> Callable:
        factors = {
            name: (max(0.0, 1 - getattr(crops, name)), 1 + getattr(crops, name))
            for name in ("brightness", "contrast", "saturation")
        }
        steps = [
            A.RandomResizedCrop((crops.size, crops.size), scale=crops.scale),
            A.HorizontalFlip(p=crops.flip),
            A.ColorJitter(**factors, hue=(-crops.hue, crops.hue), p=crops.jitter),
            A.ToGray(p=crops.grey),
            A.GaussianBlur(blur_limit=0, sigma_limit=crops.sigma, p=blur),
            A.Solarize(threshold_range=(0.5, 0.5), p=solarize),
            A.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ToTensorV2(),
        ]
        return A.Compose(steps)

    def pixels(stored: Stored) -> np.ndarray:
        if isinstance(stored, np.ndarray):
            return stored
        data = np.frombuffer(stored.read_bytes(), np.uint8)
        return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    views = [view(*one) for one in case.views()]

    def make(images: Sequence[Stored]) -> object:
        return [[one(image=image)["image"] for one in views] for image in map(pixels, images)]

    return make


def kornia(case: Case) -> Make:
    import kornia.augmentation as K

    def view(crops: Crops, blur: float, solarize: float) -> Callable:
        kernel = max(3, crops.size // 10 | 1)
        jitter = (crops.brightness, crops.contrast, crops.saturation, crops.hue)
        steps = [
            K.RandomResizedCrop((crops.size, crops.size), scale=crops.scale),
            K.RandomHorizontalFlip(crops.flip),
            K.ColorJitter(*jitter, p=crops.jitter),
            K.RandomGrayscale(p=crops.grey),
            K.RandomGaussianBlur((kernel, kernel), crops.sigma, p=blur),
            K.RandomSolarize(thresholds=0.0, additions=0.0, p=solarize),
            K.Normalize(torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)),
        ]
        return K.AugmentationSequential(*steps, same_on_batch=False)

    def tensor(stored: Stored) -> torch.Tensor:
        if isinstance(stored, np.ndarray):
            return torch.from_numpy(stored).permute(2, 0, 1)
        return decode_jpeg(torch.frombuffer(bytearray(stored.read_bytes()), dtype=torch.uint8))

    views = [view(*one) for one in case.views()]

    def make(images: Sequence[Stored]) -> object:
        for first in range(0, len(images), case.batch):
            stack = torch.stack([tensor(one) for one in images[first : first + case.batch]])
            floats = stack.float() / 255
            for one in views:
                one(floats)
        return None

    return make


LIBRARIES: dict[str, Callable[[Case], Make]] = {
    "manyviews": manyviews,
    "first-epoch": partial(FromStore, later=False),
    "later-epochs": partial(FromStore, later=True),
    "decode": decode,
    "lightly": lightly,
    "torchvision": torchvision,
    "albumentations": albumentations,
    "kornia": kornia,
}
OWN = ("manyviews", "first-epoch", "later-epochs", "decode")
