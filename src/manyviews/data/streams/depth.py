"""Depth maps become clouds: pixels of 16 bits, and what the camera was like."""

import json
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from manyviews.data.streams.table import CloudFields, CloudTable

INTRINSICS = "intrinsics.json"
"""In the folder of depth maps or above it."""

_GREY = 0
_ABOVE = 4
"""Folders from a depth map up that are looked into."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        fx, fy: focal lengths in pixels.
        cx, cy: its middle in pixels, that of the first pixel being 0.
        scale: of the numbers in the file, for a metre; 1000 for millimetres.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    scale: float = 1000.0


def is_depth(path: str) -> bool:
    """Whether a file begins as a PNG of one channel of 16 bits. Raises OSError."""
    with Path(path).open("rb") as file:
        start = file.read(26)
    return start[:8] == b"\x89PNG\r\n\x1a\n" and start[24:26] == bytes([16, _GREY])


def open_depth(path: str) -> CloudTable:
    """A depth map, of which the header alone is read.

    Each pixel with a depth is a point (x to the right, y down, z away from the camera, in metres):
    x = (column - cx) z / fx, y = (row - cy) z / fy.

    Raises:
        ValueError: no intrinsics are beside it or above it, or they cannot be used.
    """
    camera = camera_of(str(Path(path).resolve().parent))
    with Path(path).open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:])

    def load() -> CloudFields:
        with Image.open(path, formats=("PNG",)) as image:
            depth = np.array(image).astype(np.float64) / camera.scale
        rows, columns = np.nonzero(depth > 0)
        if not len(rows):
            raise ValueError("has no depth in any pixel")
        z = depth[rows, columns]
        x, y = (columns - camera.cx) * z / camera.fx, (rows - camera.cy) * z / camera.fy
        return CloudFields(np.stack([x, y, z], axis=1), None, None)

    return CloudTable(width * height, (), load)


@lru_cache(maxsize=64)
def camera_of(folder: str) -> Camera:
    """The camera of the depth maps in a folder, from the nearest `intrinsics.json`.

    It holds {"fx": ..., "fy": ..., "cx": ..., "cy": ..., "scale": ...}; without a scale it is 1000.

    Raises:
        ValueError: there is none in the folder or the three above it, or it cannot be used.
    """
    here = Path(folder)
    for place in (here, *here.parents)[:_ABOVE]:
        if (place / INTRINSICS).is_file():
            return _read(place / INTRINSICS)
    raise ValueError(
        f"is a depth map without {INTRINSICS} in its folder or above it. Write one with fx, fy, "
        "cx and cy in pixels, and scale, the file's number for a metre"
    )


def _read(path: Path) -> Camera:
    try:
        given = json.loads(path.read_text())
        camera = Camera(**{name: float(value) for name, value in given.items()})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        wanted = "numbers fx, fy, cx, cy and perhaps scale"
        raise ValueError(
            f"needs {path}, which cannot be used ({error}); wanted {wanted}"
        ) from error
    if not (
        min(camera.fx, camera.fy, camera.scale) > 0 and np.isfinite([camera.cx, camera.cy]).all()
    ):
        raise ValueError(f"needs {path}, whose fx, fy and scale should be above 0: {camera}")
    return camera
