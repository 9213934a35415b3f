"""`manyviews pack --videos`: copy videos smaller, so that a clip anywhere in them is cheap to read.

A clip is decoded from the key frame before it, and most videos have one every few seconds: packed
ones have one every few frames, and no more pixels than are wanted. Each is a file of its own, below
the same folders; a folder of class folders stays one. Files are whole or not there, so a pack that
was interrupted goes on with those that are missing.
"""

import json
import math
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from manyviews.core import Failure, UsageError
from manyviews.core.files import atomic
from manyviews.core.progress import bar
from manyviews.core.sample import Bytes, Unreadable
from manyviews.data import workers as processes
from manyviews.data.pack.layout import not_empty, refuse_another
from manyviews.data.quarantine import Bad, Quarantine
from manyviews.data.sources import Media, open_media
from manyviews.data.streams.container import needed, reasons
from manyviews.data.streams.frames import FolderOfFrames
from manyviews.data.streams.video import Video

_PLAN, _QUARANTINE, _ENDING = "videos.json", "quarantine.jsonl", ".mkv"
_CLOCK = 1000
"""Ticks a second: Matroska's own."""


@dataclass(frozen=True, kw_only=True)
class VideoPlan:
    """What is packed, and how.

    Attributes:
        digest: of the data.
        size: the shorter side of larger videos is brought to this many pixels.
        gop: frames from one key frame to the next.
        crf: x264's constant rate factor.
    """

    digest: str
    size: int
    gop: int
    crf: int


@dataclass(frozen=True, kw_only=True)
class VideoPackReport:
    """What packing videos did.

    Attributes:
        path: the folder of packed videos; a DATA for every verb.
        videos: in it.
        unreadable: left out, and named in quarantine.jsonl in it.
        continued: videos, readable or not, that an earlier call had dealt with.
        bytes: of all of them.
        seconds: that this call took.
    """

    path: Path
    videos: int
    unreadable: int
    continued: int
    bytes: int
    seconds: float

    def lines(self) -> list[str]:
        """For people."""
        said = [
            f"packed {self.videos:,} videos into {self.path}: {self.bytes / 1e6:,.1f} MB, "
            f"{self.bytes / max(1, self.videos) / 1000:,.1f} kB each, in {self.seconds:.0f} s"
        ]
        if self.continued:
            said.append(f"an earlier call had dealt with {self.continued:,} videos already")
        if self.unreadable:
            where = self.path / _QUARANTINE
            said.append(f"{self.unreadable:,} unreadable videos are left out; see {where}")
        return [*said, f"use it as data: manyviews train RECIPE --data {self.path}"]


def pack_videos(
    data: str,
    out: str | Path,
    *,
    size: int = 128,
    gop: int = 8,
    crf: int = 20,
    workers: int = -1,
) -> VideoPackReport:
    """Write all videos of `data` into the folder `out`, which is then a DATA for every verb.

    H.264 in Matroska, upright, each frame at its own time (to a millisecond), sound as it was.
    Called again after it was interrupted it goes on where it stopped.

    Args:
        data: a folder, a text file of paths, or `frames:DIR@RATE`.
        out: a new or empty folder, or one that an interrupted call left.
        size: the shorter side of larger videos becomes so many pixels, an even number; none is
            enlarged.
        gop: frames from one key frame to the next; 1 makes each one.
        crf: x264's constant rate factor, 0 (nothing is lost) to 51.
        workers: processes; -1 takes a core each.

    Raises:
        UsageError: these settings cannot be, or `out` holds something else.
        Failure: no video can be read, or `out` cannot be written.
    """
    began = time.monotonic()
    _check(size, gop, crf)
    source = open_media(data, ("video",))
    folder = Path(out).expanduser()
    _begin(folder, VideoPlan(digest=source.digest, size=size, gop=gop, crf=crf))
    names = _names([file.path for file in source.manifest.files])
    quarantine = Quarantine(folder / _QUARANTINE)
    known = {bad.path for bad in quarantine.entries()}
    left = [
        index
        for index, name in enumerate(names)
        if source.name(index) not in known and not (folder / name).exists()
    ]
    work = partial(_pack, source, folder, names, size=size, gop=gop, crf=crf)
    count = min(processes.cores(), processes.MOST) if workers < 0 else workers
    with bar("packing") as progress:
        made = processes.each(work, left, workers=count)
        for done, (index, reason) in enumerate(zip(left, made, strict=True), 1):
            if reason:
                quarantine.add(Bad(source.name(index), reason))
            progress(len(names) - len(left) + done, len(names))
    sizes = [path.stat().st_size for name in names if (path := folder / name).exists()]
    if not sizes:
        raise Failure(f"None of the videos in {data} can be read. Run `manyviews doctor {data}`.")
    return VideoPackReport(
        path=folder,
        videos=len(sizes),
        unreadable=len(names) - len(sizes),
        continued=len(names) - len(left),
        bytes=sum(sizes),
        seconds=time.monotonic() - began,
    )


def _check(size: int, gop: int, crf: int) -> None:
    if size < 2:
        raise UsageError(f"--size {size} is too few pixels for a video. Use 128, for instance.")
    if gop < 1:
        raise UsageError(f"--gop {gop} is no number of frames. Use 1 or more, for instance 8.")
    if not 0 <= crf <= 51:
        raise UsageError(f"--crf {crf} is not from 0 to 51. Use 20; less is larger and better.")


def _begin(folder: Path, plan: VideoPlan) -> None:
    """Claim a folder, or find it claimed by the same plan."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / _PLAN
    if not note.is_file():
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise not_empty(folder)
        with atomic(note) as temporary:
            temporary.write_text(json.dumps(asdict(plan)), encoding="utf-8")
        return
    try:
        there = VideoPlan(**json.loads(note.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise UsageError(f"{note} is damaged. Delete {folder} and pack the data again.") from None
    refuse_another(folder, asdict(there), asdict(plan))


def _names(paths: Sequence[str]) -> list[str]:
    """Where each goes below the folder: as it was, with another ending; whole where two meet."""
    above = [path for path in paths if path.startswith(os.sep)]
    common = os.path.commonpath([str(Path(path).parent) for path in above]) if above else ""
    below = [os.path.normpath(path.removeprefix(common).lstrip(os.sep)) for path in paths]
    plain = [part.replace("../", "") for part in below]
    stems = Counter(str(Path(part).with_suffix("")) for part in plain)
    return [
        f"{part if stems[stem := str(Path(part).with_suffix(''))] > 1 else stem}{_ENDING}"
        for part in plain
    ]


def _pack(
    source: Media, folder: Path, names: Sequence[str], index: int, *, size: int, gop: int, crf: int
) -> str:
    """Write one video; returns why it could not be, or "". Runs in workers."""
    try:
        streams = source.open(index)
        video = cast("Video | FolderOfFrames", streams["video"])
        sound = source.name(index) if "audio" in streams else ""
        with atomic(folder / names[index]) as draft, reasons(source.name(index)):
            _write(draft, video, sound=sound, size=size, gop=gop, crf=crf)
    except Unreadable as error:
        return error.reason
    return ""


def _write(
    path: Path, video: Video | FolderOfFrames, *, sound: str, size: int, gop: int, crf: int
) -> None:
    av = needed("av", "video")
    options = {
        "crf": str(crf),
        "preset": "veryfast",
        "tune": "fastdecode",
        "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes=0:threads=1",
    }
    with av.open(str(path), "w", format="matroska") as out:
        stream: Any = None
        height = width = 0
        heard = _Sound(av, sound, out) if sound else None
        for when, picture in video.each():
            if stream is None:
                height, width = _fitted(picture.shape, size)
                rate = Fraction(video.header.rate or 25).limit_denominator(1001)
                stream = out.add_stream("libx264", rate=rate, options=options)
                stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
                stream.codec_context.time_base = Fraction(1, _CLOCK)
            frame = av.VideoFrame.from_ndarray(_small(picture, (height, width)))
            frame.pts, frame.time_base = round(when * _CLOCK), Fraction(1, _CLOCK)
            out.mux(stream.encode(frame))
            if heard is not None:
                heard.copy(before=when)
        out.mux(stream.encode())
        if heard is not None:
            heard.copy()


class _Sound:
    """The packets of a file's sound, put into another file as they are, beside its pictures."""

    def __init__(self, av: Any, path: str, out: Any) -> None:
        self._file = av.open(f"file:{path}")
        self._origin = Fraction(self._file.start_time or 0, av.time_base)
        stream = self._file.streams.audio[0]
        # Of its beginning the other file says itself that it is not to be heard.
        coded = stream.codec_context
        self._unheard = Fraction(coded.delay, coded.sample_rate or 1)
        self._out = out
        self._copy = out.add_stream_from_template(stream)
        self._left = (packet for packet in self._file.demux(stream) if packet.dts is not None)
        self._next = next(self._left, None)

    def copy(self, *, before: float = math.inf) -> None:
        """Those that are left, up to a time on the clock that begins with the file.

        What ends before that clock begins, as the silence that AAC starts with, is never heard. A
        file that does not say so of it would have all its times put off until none is below 0,
        those of pictures too.
        """
        while (packet := self._next) is not None:
            late = int(self._origin / packet.time_base)
            at = packet.pts - late
            if at * packet.time_base >= before:
                return
            least = -int(self._unheard / packet.time_base)
            if at + max(1, packet.duration or 0) > least:
                packet.pts, packet.dts = max(least, at), max(least, packet.dts - late)
                packet.stream = self._copy
                self._out.mux(packet)
            self._next = next(self._left, None)
        self._file.close()


def _fitted(shape: Sequence[int], size: int) -> tuple[int, int]:
    """[height, width]: even, the shorter one not above `size`."""
    scale = min(1.0, size / min(shape[:2]))
    height, width = (max(2, 2 * round(scale * side / 2)) for side in shape[:2])
    return height, width


def _small(picture: Bytes, to: tuple[int, int]) -> Bytes:
    if picture.shape[:2] == to:
        return np.ascontiguousarray(picture)
    size = (to[1], to[0])
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
