"""Files of video and sound become streams: opened here, decoded by windows."""

import os
from collections.abc import Mapping

from manyviews.core.sample import Stream
from manyviews.data.streams.audio import AUDIO_SUFFIXES, open_audio
from manyviews.data.streams.container import Container
from manyviews.data.streams.video import VIDEO_SUFFIXES, Video

STREAMS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(sorted(VIDEO_SUFFIXES), ("video", "audio")),
    **dict.fromkeys(sorted(AUDIO_SUFFIXES), ("audio",)),
}
"""Ending of a file's name -> the streams that such a file may have."""


def open_streams(path: str) -> dict[str, Stream]:
    """The streams that a file has, by name; a video without sound has no "audio".

    The file is open until the last of them is forgotten. Read them from one thread at a time:
    those of one file share its position.

    Raises:
        Unreadable: no such file, not of its kind, or nothing that can be decoded in it.
        UsageError: a package is missing.
    """
    if os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES:  # noqa: PTH122 - Path costs ten times as much
        return {"audio": open_audio(path)}
    container = Container(path, extra="video")
    found: dict[str, Stream] = {"video": Video(container)}
    if container.has("audio"):
        found["audio"] = open_audio(path, container)
    return found
