"""The Point Cloud Library's files: a text header, then text, rows or compressed columns.

Source: pointclouds.org, "The PCD file format"; the compression is Marc Lehmann's LZF.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyviews.data.streams.table import check_bytes

_KEYS = ("FIELDS", "SIZE", "TYPE", "POINTS", "DATA")
_SIZES = {"F": (4, 8), "I": (1, 2, 4, 8), "U": (1, 2, 4, 8)}
_MOST = 200
"""Times that LZF can shrink anything."""


@dataclass(frozen=True)
class PCD:
    """An opened file.

    Attributes:
        count: of points.
        kinds: column -> its numbers' type; only columns of one number a point.
        load: reads all columns.
    """

    count: int
    kinds: Mapping[str, np.dtype[Any]]
    load: Callable[[], dict[str, NDArray[Any]]]


def open_pcd(path: str) -> PCD:
    """Read the header.

    Raises:
        ValueError: it is broken, or says more than the file has.
    """
    header, start = _header(path)
    missing = [key for key in _KEYS if key not in header]
    if missing:
        raise ValueError(f"has a PCD header without {missing[0]}")
    names = header["FIELDS"]
    repeats = [int(n) for n in header.get("COUNT", ["1"] * len(names))]
    if not len(names) == len(header["SIZE"]) == len(header["TYPE"]) == len(repeats):
        raise ValueError("has a PCD header whose FIELDS, SIZE, TYPE and COUNT differ in length")
    columns: list[tuple[str, np.dtype[Any], int]] = []
    for i, name in enumerate(names):
        size, kind = int(header["SIZE"][i]), header["TYPE"][i].upper()
        if size not in _SIZES.get(kind, ()):
            raise ValueError(f"has a PCD column {name} of type {kind}{size}")
        columns.append((f"{name}\0{i}", np.dtype(f"<{kind.lower()}{size}"), repeats[i]))
    count, form = int(header["POINTS"][0]), header["DATA"][0]
    if count < 0 or min(repeats) < 1:
        raise ValueError("has a PCD header with a number of points or columns below 0")
    kinds = {name.split("\0")[0]: kind for name, kind, many in columns if many == 1}
    make = {"ascii": _text, "binary": _rows, "binary_compressed": _compressed}
    if form not in make:
        raise ValueError(f"is a PCD of {form!r}; known are {', '.join(make)}")
    load = make[form](path, start, columns, count)

    def named() -> dict[str, NDArray[Any]]:
        return {key.split("\0")[0]: column for key, column in load().items()}

    return PCD(count, kinds, named)


_Columns = list[tuple[str, np.dtype[Any], int]]
_Load = Callable[[], dict[str, NDArray[Any]]]


def _header(path: str) -> tuple[dict[str, list[str]], int]:
    found: dict[str, list[str]] = {}
    with Path(path).open("rb") as file:
        for _ in range(100):
            words = file.readline(10_000).decode("latin1").split()
            if words and not words[0].startswith("#"):
                found[words[0]] = words[1:]
                if words[0] == "DATA" and words[1:]:
                    return found, file.tell()
    raise ValueError("does not begin as a PCD file")


def _text(path: str, start: int, columns: _Columns, count: int) -> _Load:
    wide = sum(many for _, _, many in columns)
    check_bytes(path, start, 2 * count * wide - 1, count)

    def load() -> dict[str, NDArray[Any]]:
        with Path(path).open("rb") as file:
            file.seek(start)
            numbers = np.array(file.read().split(maxsplit=count * wide)[: count * wide], np.float64)
        if len(numbers) < count * wide:
            raise ValueError(f"ends after {len(numbers) // wide:,} of {count:,} points")
        table, at = numbers.reshape(count, wide), 0
        found: dict[str, NDArray[Any]] = {}
        for name, kind, many in columns:
            if many == 1:
                found[name] = table[:, at].astype(kind)
            at += many
        return found

    return load


def _rows(path: str, start: int, columns: _Columns, count: int) -> _Load:
    kinds = np.dtype([(name, kind, (many,) if many > 1 else ()) for name, kind, many in columns])
    check_bytes(path, start, count * kinds.itemsize, count)

    def load() -> dict[str, NDArray[Any]]:
        rows = np.fromfile(path, dtype=kinds, count=count, offset=start)
        return {name: rows[name] for name, _, many in columns if many == 1}

    return load


def _compressed(path: str, start: int, columns: _Columns, count: int) -> _Load:
    size = count * sum(kind.itemsize * many for _, kind, many in columns)
    check_bytes(path, start, 8 + size // _MOST, count)
    with Path(path).open("rb") as file:
        file.seek(start)
        packed, whole = struct.unpack("<II", file.read(8))
    if whole != size:
        raise ValueError(f"says {size:,} bytes of points and {whole:,} before compression")
    check_bytes(path, start + 8, packed, count)

    def load() -> dict[str, NDArray[Any]]:
        with Path(path).open("rb") as file:
            file.seek(start + 8)
            data = unpack(file.read(packed), whole)
        found: dict[str, NDArray[Any]] = {}
        at = 0
        for name, kind, many in columns:
            if many == 1:
                found[name] = np.frombuffer(data, kind, count, at)
            at += count * kind.itemsize * many
        return found

    return load


def unpack(packed: bytes, size: int) -> bytes:
    """What LZF made `packed` of.

    Raises:
        ValueError: it is broken, or does not come to `size` bytes.
    """
    out, at = bytearray(), 0
    try:
        while at < len(packed) and len(out) <= size:
            control, at = packed[at], at + 1
            if control < 32:  # so many bytes as they are, and one
                out += packed[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length, at = length + packed[at], at + 1
            back = ((control & 31) << 8 | packed[at]) + 1
            at += 1
            first, length = len(out) - back, length + 2
            if first < 0:
                break
            if back >= length:
                out += out[first : first + length]
            else:  # it goes on with what it has just written
                out += (out[first:] * (length // back + 1))[:length]
    except IndexError:
        pass  # cut off, which the length tells
    if len(out) != size:
        raise ValueError(f"is broken: {len(out):,} of {size:,} bytes come out of its compression")
    return bytes(out)
