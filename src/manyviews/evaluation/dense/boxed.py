"""Images with boxes around things, from a JSON as COCO's, in two parts."""

import hashlib
import json
import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.core.sample import Unreadable
from manyviews.data.manifest import File, Manifest, of_folder
from manyviews.data.masks import upright_size
from manyviews.data.sources import Files, Split
from manyviews.data.streams.image import suffixes
from manyviews.evaluation.listing import LabelledFile, role, some, split_rows

FORMS = (
    "a folder of images with a JSON as COCO's (images, annotations, categories) in it or in its "
    "folder annotations: one, or one of train and one of test (or val) by their names"
)
"""What `open_boxed` takes, for messages."""

log = logging.getLogger("manyviews")


@dataclass(frozen=True)
class Boxes:
    """Of one image.

    Attributes:
        xyxy: [n, 4] float64: left, top, right, bottom in pixels of the image.
        kinds: [n] int64, places in `BoxedImages.names`.
        crowd: [n] bool, of boxes around many things, which are neither learnt nor counted.
    """

    xyxy: Tensor
    kinds: Tensor
    crowd: Tensor


@dataclass(frozen=True)
class BoxedImages:
    """One part.

    Attributes:
        source: the images.
        boxes: of each image, which may have none.
        sizes: [N, 2] float64, width and height in pixels.
        names: of the kinds of things, in the order of their ids.
        split: how the parts came to be: "given", "hashed" for our own 80/20, or "whole".
        files: the JSON.
    """

    source: Files
    boxes: tuple[Boxes, ...]
    sizes: Tensor
    names: tuple[str, ...]
    split: str
    file: Path

    def __len__(self) -> int:
        return len(self.boxes)

    def content(self) -> str:
        """SHA-256 of the files' bytes, in their order, and of the JSON's."""
        total = hashlib.sha256(self.file.read_bytes())
        for i in range(len(self)):
            total.update(hashlib.sha256(self.source.raw(i) or b"").digest())
        return total.hexdigest()


def open_boxed(
    spec: str, *, channels: int, max_pixels: int, split: Split | None = None
) -> BoxedImages:
    """The images and boxes of one part of a folder, or of the whole.

    Args:
        spec: the folder; see `FORMS`. A file_name is a path below the folder, or the end of one.
        channels: every image is brought to this many.
        max_pixels: larger images are unreadable.
        split: which part; None for all images of the only JSON, or else of the test part.

    Raises:
        UsageError: no such folder or JSON, one that is not as said, or images that are not there
            or have another size than it says.
    """
    root = Path(spec).expanduser()
    if not root.is_dir():
        raise UsageError(f"{spec} is no folder. Images with boxes are {FORMS}.")
    chosen, how = _chosen(root, split)
    listed = _Listed.read(chosen)
    files = of_folder(root, suffixes=suffixes(channels)).files
    found = _matched(listed, files, root)
    keys = list(found)
    if split is not None and how == "hashed":
        rows = [LabelledFile(found[key], "") for key in keys]
        parts = split_rows(rows, several=True)
        keys = [key for key, row in zip(keys, parts, strict=True) if row.split == split]
    if not keys:
        raise UsageError(f"{chosen} has no images of the {split or 'whole'} part. Give 2 or more.")
    manifest = Manifest(root, tuple(found[key] for key in keys), {})
    source = Files(spec, manifest, channels=channels, max_pixels=max_pixels)
    sizes = [listed.size(key, source, row) for row, key in enumerate(keys)]
    boxes = tuple(listed.boxes(key) for key in keys)
    log.info("%s: %d images with %d boxes of %d kinds (%s)", chosen, len(keys),
             sum(len(one.kinds) for one in boxes), len(listed.names), how)  # fmt: skip
    size = torch.tensor(sizes, dtype=torch.float64)
    return BoxedImages(source, boxes, size, listed.names, how, chosen)


def _chosen(root: Path, split: Split | None) -> tuple[Path, str]:
    """The JSON of a part, and how parts come to be."""
    found = sorted([*root.glob("*.json"), *root.glob("*/*.json")])
    found = [path for path in found if path.parent in (root, root / "annotations")
             or role(path.parent.name)]  # fmt: skip
    by_role: defaultdict[str, list[Path]] = defaultdict(list)
    for path in found:
        words = [*re.split(r"[^a-z]+", path.stem.lower()), path.parent.name]
        by_role[next((part for word in words if (part := role(word))), "")].append(path)
    held = "test" if by_role["test"] else "validation"
    if by_role["train"] and by_role[held]:
        chosen, how = by_role["train" if split == "train" else held], "given"
    else:
        chosen, how = found, "hashed" if split else "whole"
    if len(chosen) != 1:
        names = some([str(path.relative_to(root)) for path in chosen]) or "none"
        raise UsageError(f"{root} has {len(chosen)} JSON files for a part: {names}. Give {FORMS}.")
    return chosen[0], how


@dataclass(frozen=True)
class _Listed:
    """What a JSON says, by the id of an image.

    Attributes:
        path: the JSON.
        images: id -> its entry.
        of: id -> entries of boxes.
        names: of kinds.
        place: id of a category -> place in `names`.
    """

    path: Path
    images: Mapping[Any, Mapping[str, Any]]
    of: Mapping[Any, Sequence[Mapping[str, Any]]]
    names: tuple[str, ...]
    place: Mapping[Any, int]

    @staticmethod
    def read(path: Path) -> "_Listed":
        try:
            said: Any = json.loads(path.read_text(encoding="utf-8"))
            kinds = sorted(said["categories"], key=lambda kind: kind["id"])
            place = {kind["id"]: i for i, kind in enumerate(kinds)}
            images = {image["id"]: image for image in said["images"]}
            of: defaultdict[Any, list[Any]] = defaultdict(list)
            for one in said["annotations"]:
                _ = images[one["image_id"]], place[one["category_id"]]
                left, top, width, height = map(float, one["bbox"])
                if not all(map(_finite, (left, top, width, height))):
                    raise ValueError(f"bbox {one['bbox']}")
                of[one["image_id"]].append(one)
            names = tuple(str(kind["name"]) for kind in kinds)
            _ = [str(image["file_name"]) for image in images.values()]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path} is no JSON as COCO's ({type(error).__name__}: {str(error)[:100]}). "
                "It wants images (id, file_name), categories (id, name) and annotations "
                "(image_id, category_id, bbox: left, top, width, height in pixels)."
            ) from None
        if not names or not of:
            raise UsageError(f"{path} has {len(names)} categories and no boxes. Give some of both.")
        return _Listed(path, images, of, names, place)

    def boxes(self, key: object) -> Boxes:
        """Of an image, left out what has no area."""
        kept = [one for one in self.of.get(key, ()) if min(one["bbox"][2:]) > 0]
        xywh = torch.tensor([one["bbox"] for one in kept], dtype=torch.float64).view(-1, 4)
        return Boxes(
            torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1),
            torch.tensor([self.place[one["category_id"]] for one in kept], dtype=torch.int64),
            torch.tensor([bool(one.get("iscrowd")) for one in kept], dtype=torch.bool),
        )

    def size(self, key: object, source: Files, row: int) -> tuple[int, int]:
        """Width and height of the upright image; refuses boxes that were drawn on another."""
        try:
            height, width = upright_size(source, row)
        except Unreadable as error:
            raise UsageError(
                f"{error.path} cannot be read: {error.reason}. Mend it, or take it out of "
                f"{self.path}."
            ) from None
        image = self.images[key]
        said = image.get("width", width), image.get("height", height)
        if said != (width, height):
            raise UsageError(
                f"{self.path} says that {image['file_name']} is {said[0]} x {said[1]} pixels, and "
                f"the file has {width} x {height}. Boxes would be off: give the images that "
                "they were drawn on."
            )
        return width, height


def _finite(number: float) -> bool:
    return abs(number) < float("inf")


def _matched(listed: _Listed, files: Sequence[File], root: Path) -> dict[Any, File]:
    """The file of each image: of that path below the folder, or the only one that ends so."""
    by_path = {file.path: file for file in files}
    by_name: defaultdict[str, list[File]] = defaultdict(list)
    for file in files:
        by_name[Path(file.path).name].append(file)
    found: dict[Any, File] = {}
    for key, image in listed.images.items():
        name = str(image["file_name"])
        ends = [file for file in by_name[Path(name).name] if f"/{file.path}".endswith(f"/{name}")]
        beside = str(listed.path.parent.relative_to(root) / name)
        exact = by_path.get(name) or by_path.get(beside)
        if exact is None and len(ends) != 1:
            what = "is not there" if not ends else f"may be {some([f.path for f in ends])}"
            raise UsageError(f"{listed.path} names the image {name}, which {what} in {root}.")
        found[key] = exact or ends[0]
    return found
