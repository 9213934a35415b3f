"""Folders of frames, each a video whose first frame has a mask of objects."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.core.sample import Unreadable
from manyviews.data.manifest import File, Manifest, of_folder
from manyviews.data.masks import read_mask_of
from manyviews.data.sources import Files
from manyviews.data.streams.frames import by_number
from manyviews.data.streams.image import suffixes
from manyviews.evaluation.dense.masked import mask_of
from manyviews.evaluation.listing import some

FORMS = (
    "a folder of folders of frames, of which each has a mask for its first frame (0001.jpg and "
    "0001.png, or JPEGImages/cat/0001.jpg and Annotations/cat/0001.png), and for others to be "
    "measured on; a mask has one whole number a pixel: 0, or the object's"
)
"""What `open_videos` takes, for messages."""

log = logging.getLogger("manyviews")


@dataclass(frozen=True)
class MaskedVideo:
    """One folder.

    Attributes:
        name: its path.
        rows: of its frames in the source, in their order.
        masks: row -> path of the frame's mask; the first frame has one.
    """

    name: str
    rows: range
    masks: Mapping[int, Path]

    @property
    def judged(self) -> list[int]:
        """Rows that are measured: those with a mask but the first, and (DAVIS) but the last.

        The last counts where no other does.
        """
        inner = [row for row in self.rows[1:-1] if row in self.masks]
        return inner or [row for row in self.rows[1:] if row in self.masks]


@dataclass(frozen=True)
class MaskedVideos:
    """All of them.

    Attributes:
        source: their frames, a video behind the other.
        videos: each with 2 frames or more, of which one can be measured.
        max_pixels: larger masks are refused.
    """

    source: Files
    videos: tuple[MaskedVideo, ...]
    max_pixels: int

    def mask(self, video: MaskedVideo, row: int) -> Tensor:
        """[H, W] int32 of a frame that has one.

        Raises:
            UsageError: it cannot be read, or is of another size than its frame.
        """
        path = str(video.masks[row])
        try:
            mask = read_mask_of(self.source, row, path, max_pixels=self.max_pixels)
        except Unreadable as error:
            raise UsageError(
                f"The mask {error.path} cannot be used: {error.reason}. Mend it, or take it out."
            ) from None
        return torch.from_numpy(np.ascontiguousarray(mask))

    def content(self) -> str:
        """SHA-256 of the files' bytes, in their order."""
        total = hashlib.sha256()
        for video in self.videos:
            for row in video.rows:
                mask = video.masks.get(row)
                for data in (self.source.raw(row) or b"", mask.read_bytes() if mask else b""):
                    total.update(hashlib.sha256(data).digest())
        return total.hexdigest()


def open_videos(spec: str, *, channels: int, max_pixels: int) -> MaskedVideos:
    """The videos below a folder. Those that lack a first mask, or another, are left out.

    Frames are in the order of their names, where 2 comes before 10.

    Args:
        spec: the folder; see `FORMS`.
        channels: every frame is brought to this many.
        max_pixels: larger frames are refused.

    Raises:
        UsageError: no such folder, or nothing to be measured in it.
    """
    root = Path(spec).expanduser()
    if not root.is_dir():
        raise UsageError(f"{spec} is no folder. Videos with masks are {FORMS}.")
    files = of_folder(root, suffixes=suffixes(channels) | {".png"}).files
    by_name = {file.path: file for file in files}
    beside = {file.path: mask for file in files if (mask := mask_of(file.path, by_name))}
    taken = set(beside.values())
    folders: dict[str, list[File]] = {}
    for file in files:
        if file.path not in taken:
            folders.setdefault(str(PurePosixPath(file.path).parent), []).append(file)
    videos: list[MaskedVideo] = []
    frames: list[File] = []
    without: list[str] = []
    for name, found in sorted(folders.items()):
        video = _video(root, name, found, beside, len(frames))
        if found[0].path in beside and video.judged:
            videos.append(video)
            frames += found
        elif any(file.path in beside for file in found):
            without.append(name)
    if without:
        log.warning("%d folders of %s have no mask for their first frame, or for that alone, and "
                    "are left out: %s", len(without), spec, some(without))  # fmt: skip
    if not videos:
        raise UsageError(
            f"{spec} has {len(folders)} folders of pictures and none with masks for its first and "
            f"another frame. Give {FORMS}."
        )
    log.info("%s: %d videos of %d frames", spec, len(videos), len(frames))
    source = Files(
        spec, Manifest(root, tuple(frames), {}), channels=channels, max_pixels=max_pixels
    )
    return MaskedVideos(source, tuple(videos), max_pixels)


def _video(
    root: Path, name: str, found: list[File], beside: Mapping[str, str], start: int
) -> MaskedVideo:
    """A folder's frames, put in order; the first is `start` in the source."""
    found.sort(key=lambda file: by_number(file.path))
    masks = {start + i: root / beside[f.path] for i, f in enumerate(found) if f.path in beside}
    return MaskedVideo(name, range(start, start + len(found)), masks)
