"""Images with a mask of classes beside each, in two parts: to learn from, and to be tested on."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.sample import Unreadable
from manyviews.data.manifest import File, Manifest, of_folder
from manyviews.data.masks import read_mask_of
from manyviews.data.sources import Files, Split
from manyviews.data.streams.image import suffixes
from manyviews.evaluation.listing import LabelledFile, role, some, split_rows
from manyviews.views.by_input import plain_numbers

IMAGES = ("images", "image", "img", "imgs", "jpegimages", "leftimg8bit")
MASKS = (
    *("masks", "mask", "labels", "annotations", "Annotations", "SegmentationClass"),
    "segmentation",
)
FORMS = (
    "a folder in which dog.jpg has its mask in dog.png or dog_mask.png beside it, or "
    "images/dog.jpg in masks/dog.png; a mask has one whole number a pixel, its class"
)
"""What `open_masked` takes, for messages."""
NAMES = "classes.txt"
"""At the root: the name of class 0, 1, ... a line each."""
VOID = -1
"""In place of the numbers that are ignored."""
_MOST = 1000

log = logging.getLogger("manyviews")


@dataclass(frozen=True)
class MaskedImages:
    """One part.

    Attributes:
        source: the images.
        masks: the path of each image's mask.
        names: of class 0, 1, ... as far as they were given.
        split: how the parts came to be: "given" by folders, or "hashed" for our own 80/20.
        max_pixels: larger masks are refused.
    """

    source: Files
    masks: tuple[Path, ...]
    names: tuple[str, ...]
    split: str
    max_pixels: int

    def __len__(self) -> int:
        return len(self.masks)

    def classes(self, input: Pixels, rows: Sequence[int], *, ignore: Sequence[int]) -> Tensor:
        """The class of every pixel of the plain views [len(rows), S, S] int32; `VOID` for none.

        Raises:
            UsageError: a mask that cannot be read, is of another size than its image, or numbers
                things instead of classes.
        """
        out = torch.empty(len(rows), input.side, input.side, dtype=torch.int32)
        bad: list[Unreadable] = []
        for place, row in zip(out, rows, strict=True):
            try:
                path = str(self.masks[row])
                mask = read_mask_of(self.source, row, path, max_pixels=self.max_pixels)
                place[...] = torch.from_numpy(plain_numbers(input, mask))
            except Unreadable as error:
                bad.append(error)
        if bad:
            raise UsageError(
                f"{len(bad)} of {len(rows)} masks cannot be used; the first is {bad[0].path}: "
                f"{bad[0].reason}. Repair them, or take them and their images out."
            )
        out[torch.isin(out, torch.tensor(ignore, dtype=torch.int32))] = VOID
        kinds = len(out.unique())
        if kinds > _MOST:
            raise UsageError(
                f"The masks of {self.source.spec} hold {kinds} different numbers; wanted up to "
                f"{_MOST} classes. Do they number things one by one? Give masks of classes."
            )
        return out

    def called(self, number: int) -> str:
        """The name of a class, or its number."""
        return self.names[number] if number < len(self.names) else str(number)

    def content(self) -> str:
        """SHA-256 of the files' bytes, in their order."""
        total = hashlib.sha256()
        for i, mask in enumerate(self.masks):
            for data in (self.source.raw(i) or b"", mask.read_bytes()):
                total.update(hashlib.sha256(data).digest())
        return total.hexdigest()


def open_masked(spec: str, *, channels: int, max_pixels: int, split: Split) -> MaskedImages:
    """The images and masks of one part of a folder.

    The parts are folders named train and test (or val), anywhere on the way to an image; without
    both, the fifth of the images whose path hashes lowest is the test part. Images without a mask
    are left out, with a line.

    Args:
        spec: the folder; see `FORMS`. It may hold a `classes.txt`.
        channels: every image is brought to this many.
        max_pixels: larger images are unreadable.
        split: which part.

    Raises:
        UsageError: no such folder, no masks, or a part without images.
    """
    root = Path(spec).expanduser()
    if not root.is_dir():
        raise UsageError(f"{spec} is no folder. Images with masks are {FORMS}.")
    files = of_folder(root, suffixes=suffixes(channels) | {".png"}).files
    by_name = {file.path: file for file in files}
    beside = {
        file.path: mask for file in files if (mask := mask_of(file.path, by_name)) is not None
    }
    taken = set(beside.values())
    images = [file for file in files if file.path in beside and file.path not in taken]
    if not images:
        raise UsageError(
            f"{spec} has {len(files)} images and a mask beside none of them. Give {FORMS}."
        )
    without = [f.path for f in files if f.path not in beside and f.path not in taken]
    if without and split == "train":
        log.warning("%d images of %s have no mask and are left out: %s", len(without), spec,
                    some(without))  # fmt: skip
    rows, how = _parted(images)
    chosen = [row.file for row in rows if row.split == split]
    if not chosen:
        raise UsageError(
            f"{spec} has no {split} part of its {len(images)} images with masks. Give 2 or more, "
            "or folders train and test."
        )
    log.info("%s: %d %s images with masks (split %s)", spec, len(chosen), split, how)
    source = Files(
        spec, Manifest(root, tuple(chosen), {}), channels=channels, max_pixels=max_pixels
    )
    masks = tuple(root / beside[file.path] for file in chosen)
    return MaskedImages(source, masks, _names(root), how, max_pixels)


def mask_of(path: str, files: dict[str, File]) -> str | None:
    """The mask of an image: the first of the names that it may have which is a file's."""
    return next((name for name in _places(PurePosixPath(path)) if name in files), None)


def _places(image: PurePosixPath) -> Iterator[str]:
    if image.suffix.lower() != ".png":
        yield str(image.with_suffix(".png"))
    yield str(image.with_name(f"{image.stem}_mask.png"))
    for i, part in enumerate(image.parts[:-1]):
        if part.lower() in IMAGES:
            for folder in MASKS:
                yield str(PurePosixPath(*image.parts[:i], folder, *image.parts[i + 1 : -1])
                          / f"{image.stem}.png")  # fmt: skip


def _parted(images: Sequence[File]) -> tuple[list[LabelledFile], str]:
    """Each image with its part: by a folder that says so, or by hash."""
    roles = [
        next((kind for part in PurePosixPath(f.path).parts[:-1] if (kind := role(part))), "")
        for f in images
    ]
    held = "test" if "test" in roles else "validation"
    if {"train", held} <= set(roles):
        parts: dict[str, Split] = {"train": "train", held: "test"}
        pairs = zip(images, roles, strict=True)
        return [LabelledFile(f, "", parts[kind]) for f, kind in pairs if kind in parts], "given"
    return split_rows([LabelledFile(file, "") for file in images], several=True), "hashed"


def middles(old: int, new: int) -> Tensor:
    """Which of `old` pixels lies below the middle of each of `new`, [new] int64."""
    return ((torch.arange(new) + 0.5) * old / new).long()


def _names(root: Path) -> tuple[str, ...]:
    path = root / NAMES
    if not path.is_file():
        return ()
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
