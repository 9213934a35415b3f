"""IDX files, the format of MNIST and Fashion-MNIST: a big-endian header and raw bytes."""

import gzip
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError

_STEMS = {"train": "train", "test": "t10k"}


def find_idx(
    folder: Path, split: Literal["train", "test"], kind: Literal["images", "labels"]
) -> Path:
    """The file of a split, gzipped or not, under the names that MNIST is known by.

    Raises:
        UsageError: no such file.
    """
    rank = 3 if kind == "images" else 1
    stem = f"{_STEMS[split]}-{kind}"
    names = [f"{stem}{dot}idx{rank}-ubyte{end}" for end in ("", ".gz") for dot in ("-", ".")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UsageError(
        f"{folder} has no {names[0]} or {names[2]}. Give the folder that holds the IDX files, "
        "for instance fashion-mnist:/usr/share/datasets/fashion-mnist."
    )


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, gzipped or not: [N] or [N, H, W] uint8.

    Raises:
        UsageError: the file cannot be read, or is not what its header says.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"Cannot read {path}: {error}. Get the file again.") from None
    if len(data) < 4 or data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise UsageError(f"{path} is not an IDX file of unsigned bytes. Get the file again.")
    rank = data[3]
    shape = struct.unpack_from(f">{rank}I", data, 4)
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * rank)
    if values.size != np.prod(shape, dtype=np.int64):
        wanted = " x ".join(map(str, shape))
        raise UsageError(
            f"{path} holds {values.size:,} bytes where its header says {wanted}. "
            "Get the file again."
        )
    return values.reshape(shape)
