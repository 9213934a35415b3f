"""Files of video, sound and points become streams: opened here, decoded by windows."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from manyviews.core.sample import Stream, Unreadable
from manyviews.data.streams.audio import AUDIO_SUFFIXES, open_audio
from manyviews.data.streams.container import Container, reasons
from manyviews.data.streams.depth import is_depth
from manyviews.data.streams.frames import FolderOfFrames
from manyviews.data.streams.numbered import say_decoder
from manyviews.data.streams.points import CLOUD_SUFFIXES, open_cloud
from manyviews.data.streams.video import VIDEO_SUFFIXES, Video


@dataclass(frozen=True)
class Form:
    """A kind of file.

    Attributes:
        has: the streams that such a file may have.
        open: its path -> those that it has, by name; raises Unreadable.
    """

    has: tuple[str, ...]
    open: Callable[[str], Mapping[str, Stream]]


def _sound(path: str) -> Mapping[str, Stream]:
    return {"audio": open_audio(path)}


def _video(path: str) -> Mapping[str, Stream]:
    container = Container(path, extra="video")
    say_decoder()
    found: dict[str, Stream] = {"video": Video(container)}
    if container.has("audio"):
        found["audio"] = open_audio(path, container)
    return found


def _points(path: str) -> Mapping[str, Stream]:
    """A picture among clouds is none: only PNGs of 16 grey bits are depth maps."""
    with reasons(path):
        if path.lower().endswith(".png") and not is_depth(path):
            return {}
    return {"points": open_cloud(path)}


STREAMS: Mapping[str, Form] = {
    **dict.fromkeys(sorted(VIDEO_SUFFIXES), Form(("video", "audio"), _video)),
    ".gif": Form(("video",), _video),
    **dict.fromkeys(sorted(AUDIO_SUFFIXES), Form(("audio",), _sound)),
    **dict.fromkeys(sorted(CLOUD_SUFFIXES), Form(("points",), _points)),
}
"""Ending of a file's name -> its kind."""


def open_frames(path: str, *, rate: float) -> Mapping[str, Stream]:
    """A folder of pictures as {"video": ...}, `rate` of them a second. Raises Unreadable."""
    return {"video": FolderOfFrames(path, rate=rate)}


def open_streams(path: str) -> Mapping[str, Stream]:
    """The streams that a file has, by name; a video without sound has no "audio".

    The file is open until the last of them is forgotten. Read them from one thread at a time:
    those of one file share its position.

    Raises:
        Unreadable: no such file, not of its kind, or nothing that can be decoded in it.
        UsageError: a package is missing.
    """
    ending = os.path.splitext(path)[1].lower()  # noqa: PTH122 - Path costs ten times as much
    if ending not in STREAMS:
        raise Unreadable(path, f"no video, sound or cloud has a name that ends in {ending!r}")
    return STREAMS[ending].open(path)
