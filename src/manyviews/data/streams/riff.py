"""What the header of a WAV file says of its length, which libsndfile takes no notice of."""

import struct
from pathlib import Path

_UNKNOWN = (0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF)
"""Lengths that programs write which cannot go back to put in the right one."""
_EVEN = (1, 3, 0xFFFE)
"""Formats whose blocks are a frame each: whole numbers, floats, and either with more channels."""
_CHUNKS = 64
"""More than so many before the samples no file has."""


def stated_frames(path: str) -> int:
    """Frames (samples of each channel) of a WAV file by its header; 0 where it does not say.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        first = file.read(12)
        if first[:4] != b"RIFF" or first[8:] != b"WAVE":
            return 0
        block = 0
        for _ in range(_CHUNKS):
            head = file.read(8)
            if len(head) < 8:
                return 0
            name, size = head[:4], struct.unpack("<I", head[4:])[0]
            if name == b"data":
                return 0 if size in _UNKNOWN or not block else size // block
            if name == b"fmt ":
                form = struct.unpack("<HHIIH", file.read(14))
                block = form[4] if form[0] in _EVEN else 0
                file.seek(size - 14, 1)
            else:
                file.seek(size, 1)
            if size % 2:  # chunks begin at even places
                file.seek(1, 1)
    return 0
