"""Clouds of points: what a file says of them first, then the points."""

import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import WHOLE, Unreadable, Window
from manyviews.data.streams.container import needed, reasons
from manyviews.data.streams.depth import open_depth
from manyviews.data.streams.pcd import open_pcd
from manyviews.data.streams.table import CloudFields, CloudTable, check_bytes

CLOUD_SUFFIXES = frozenset((".ply", ".pcd", ".npy", ".npz", ".las", ".laz", ".png"))
"""Files with these endings (in any case) are taken for clouds."""

MAX_POINTS = 50_000_000
"""Clouds of more are refused from their header: 2 GB as they are read."""

COLUMNS = {"colour": slice(3, 6), "normals": slice(6, 9)}
"""Where in a row what a point has besides its place stands; NaN where it has none."""

_FAR = 10_000.0
"""Coordinates beyond this (of maps, in metres) are counted from the cloud's middle: float32 would
round them to millimetres or worse."""

_RED = ("red", "green", "blue")
_COLOURS = (_RED, ("r", "g", "b"), tuple(f"diffuse_{name}" for name in _RED))
_NORMALS = (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z"))
_KEYS = {
    "xyz": ("points", "xyz", "pos", "coord"),
    "colour": ("colours", "colors", "color", "rgb"),
    "normals": ("normals", "normal"),
}
"""Names under which .npz files keep arrays."""
_PLY_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}


class Cloud:
    """A cloud as a stream: its header is read when it is opened.

    Attributes:
        points: how many the header says there are; of a depth map its pixels.
        has: "colour", "normals", both or neither.
        span: 0, since it has no time.
        lost: points that were left out when it was read, their coordinates not being finite.
    """

    span = 0.0

    def __init__(self, path: str, table: CloudTable) -> None:
        """Keep what the header said.

        Raises:
            Unreadable: it has no points, or too many.
        """
        self._path, self._table = path, table
        self.points, self.has, self.lost = table.count, table.has, 0
        if not table.count:
            raise Unreadable(path, "has no points")
        if table.count > MAX_POINTS:
            raise Unreadable(
                path, f"has {table.count:,} points; at most {MAX_POINTS:,} are read. Thin it out"
            )

    def read(self, window: Window = WHOLE) -> NDArray[np.float32]:
        """[N, 9] float32: x, y, z, red, green, blue from 0 to 1, and the normal.

        Points without finite coordinates are left out; colour and normal are NaN where the file
        has none. Coordinates beyond 10,000 are counted from the cloud's middle.

        Raises:
            Unreadable: broken, cut off, or no point is left.
        """
        del window
        with reasons(self._path):
            found = self._table.load()
            rows = np.full((len(found.xyz), 9), np.nan, dtype=np.float32)
            finite: NDArray[np.bool_] = np.asarray(np.isfinite(found.xyz).all(axis=1))
            if not finite.any():
                raise ValueError(f"none of its {len(found.xyz):,} points has finite coordinates")
            self.lost = int((~finite).sum())
            xyz = found.xyz[finite]
            if np.abs(xyz).max() > _FAR:
                xyz = xyz - (xyz.min(axis=0) + xyz.max(axis=0)) / 2
            for name, part in (("colour", found.colour), ("normals", found.normals)):
                if part is not None:
                    rows[:, COLUMNS[name]] = levels(part) if name == "colour" else part
            rows = rows if finite.all() else rows[finite]
            rows[:, :3] = xyz
            return rows


def open_cloud(path: str) -> Cloud:
    """A file of points, opened by its ending; nothing but its header is read.

    - .ply: ascii and binary; x, y, z, and red, green, blue, nx, ny, nz where they are there.
    - .pcd: ascii, binary and compressed; packed `rgb` too.
    - .npy: [N, 3], [N, 4] (the fourth column, LiDAR's intensity, is not read), [N, 6] or [N, 9].
      Columns 4 to 6 are normals where any of them is negative, else colours.
    - .npz: `points`, `xyz`, `pos` or `coord` [N, 3 or more], and `colors`, `normals` [N, 3].
    - .las and .laz: by laspy.
    - .png: a depth map of 16 bits, with its camera in `intrinsics.json` (`streams.depth`).

    Raises:
        Unreadable: no such file, not of its kind, broken, without points or with too many.
        UsageError: a package is missing.
    """
    ending = os.path.splitext(path)[1].lower()  # noqa: PTH122 - Path costs ten times as much
    with reasons(path):
        return Cloud(path, _OPEN[ending](path))


def levels(colour: NDArray[Any]) -> NDArray[np.float32]:
    """Colours [N, 3] from 0 to 1, whether a file has them so, from 0 to 255 or in 16 bits."""
    if colour.dtype.kind in "ui":
        most = np.iinfo(colour.dtype).max
        sixteen = most > 255 and colour.size and colour.max() > 255
        return (colour / (65535 if sixteen else 255)).astype(np.float32)
    most = 255 if colour.size and np.nanmax(colour) > 1 else 1
    return (colour / most).astype(np.float32)


def _of_columns(columns: Mapping[str, NDArray[Any]]) -> CloudFields:
    """Of named columns [N] each. Raises ValueError where x, y or z is missing."""
    found = {name.lower(): column for name, column in columns.items()}
    return CloudFields(
        np.stack([found[name].astype(np.float64) for name in "xyz"], axis=1),
        _first(found, _COLOURS),
        _first(found, _NORMALS),
    )


def _first(columns: Mapping[str, NDArray[Any]], known: Any) -> NDArray[Any] | None:
    for names in known:
        if all(name in columns for name in names):
            return np.stack([columns[name] for name in names], axis=1)
    return None


def _has(names: Any) -> tuple[str, ...]:
    lower = {name.lower() for name in names}
    if not {"x", "y", "z"} <= lower:
        raise ValueError(f"has the columns {', '.join(names)}; wanted x, y and z among them")
    known = {"colour": _COLOURS, "normals": _NORMALS}
    return tuple(k for k, each in known.items() if any(lower >= set(names) for names in each))


@dataclass(frozen=True)
class _Element:
    """Of a .ply file: so many rows of these columns, or of lists."""

    name: str
    count: int
    columns: list[tuple[str, str]]
    lists: bool


def _ply(path: str) -> CloudTable:
    with Path(path).open("rb") as file:
        form, elements = _ply_header(file)
        start = file.tell()
    order = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
    if form not in order:
        raise ValueError(f"is a PLY of the format {form!r}; known are {', '.join(order)}")
    before: list[_Element] = []
    for element in elements:
        if element.name == "vertex":
            break
        before.append(element)
    else:
        raise ValueError("is a PLY without vertices")
    if element.lists or any(each.lists for each in before):
        raise ValueError("has lists in or before its vertices. Write it again without them")
    has = _has([name for name, _ in element.columns])
    kinds = np.dtype([(name, order[form] + kind) for name, kind in element.columns])
    if form == "ascii":
        skipped = sum(each.count * len(each.columns) for each in before)
        return _ascii(path, start, element.count, kinds, has, skipped)
    start += sum(
        each.count * np.dtype([(n, order[form] + k) for n, k in each.columns]).itemsize
        for each in before
    )
    check_bytes(path, start, element.count * kinds.itemsize, element.count)

    def load() -> CloudFields:
        rows = np.fromfile(path, dtype=kinds, count=element.count, offset=start)
        return _of_columns({name: rows[name] for name in kinds.names or ()})

    return CloudTable(element.count, has, load)


def _ply_header(file: IO[bytes]) -> tuple[str, list[_Element]]:
    if file.readline(16).strip() != b"ply":
        raise ValueError("does not begin as a PLY file")
    form, elements = "", list[_Element]()
    for _ in range(1000):
        words = file.readline(1000).decode("latin1").split()
        match words:
            case ["format", form, *_]:
                pass
            case ["element", name, count]:
                elements.append(_Element(name, int(count), [], lists=False))
            case ["property", "list", *_] if elements:
                last = elements[-1]
                elements[-1] = _Element(last.name, last.count, last.columns, lists=True)
            case ["property", kind, name] if elements and kind in _PLY_TYPES:
                elements[-1].columns.append((name, _PLY_TYPES[kind]))
            case ["end_header"]:
                return form, elements
            case ["comment" | "obj_info", *_]:
                pass
            case _:
                raise ValueError(f"has a broken PLY header: {' '.join(words)[:60]!r}")
    raise ValueError("has a PLY header without an end")


def _ascii(
    path: str, start: int, count: int, kinds: np.dtype[Any], has: tuple[str, ...], skipped: int = 0
) -> CloudTable:
    """Numbers as text: so many rows of the columns after so many numbers to skip."""
    names = list(kinds.names or ())
    check_bytes(path, start, 2 * count * len(names) - 1, count)

    def load() -> CloudFields:
        with Path(path).open("rb") as file:
            file.seek(start)
            words = file.read().split(maxsplit=skipped + count * len(names))
        numbers = np.array(words[skipped : skipped + count * len(names)], dtype=np.float64)
        if len(numbers) < count * len(names):
            raise ValueError(f"ends after {len(numbers) // len(names):,} of {count:,} points")
        table = numbers.reshape(count, len(names))
        return _of_columns({n: table[:, i].astype(kinds[n]) for i, n in enumerate(names)})

    return CloudTable(count, has, load)


def _npy(path: str) -> CloudTable:
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    _numbers(array.shape, array.dtype, path="", columns=(3, 4, 6, 9))
    wide = array.shape[1]
    # Which of the two six columns are is not known before they are read.
    has = {6: ("colour or normals",), 9: ("colour", "normals")}.get(wide, ())

    def load() -> CloudFields:
        rows = np.array(array)
        xyz, rest = rows[:, :3].astype(np.float64), rows[:, 3:]
        if wide == 9:
            return CloudFields(xyz, rest[:, :3], rest[:, 3:])
        if wide == 6 and (rest < 0).any():
            return CloudFields(xyz, None, rest)
        return CloudFields(xyz, rest if wide == 6 else None, None)

    return CloudTable(len(array), has, load)


def _npz(path: str) -> CloudTable:
    with zipfile.ZipFile(path) as archive:
        inside = {Path(name).stem: name for name in archive.namelist()}
        named = {
            part: next((key for key in keys if key in inside), "") for part, keys in _KEYS.items()
        }
        if not named["xyz"]:
            wanted = ", ".join(_KEYS["xyz"])
            raise ValueError(f"has the arrays {', '.join(inside)}; wanted one of {wanted}")
        count = 0
        for part, key in named.items():
            if key:
                with archive.open(inside[key]) as file:
                    shape, dtype = _npy_header(file)
                _numbers(shape, dtype, path=key, columns=() if part == "xyz" else (3,))
                if part != "xyz" and shape[0] != count:
                    raise ValueError(f"has {count:,} points and {shape[0]:,} rows of {key}")
                count = shape[0]

    def load() -> CloudFields:
        with np.load(path, allow_pickle=False) as arrays:
            found = {part: arrays[key] if key else None for part, key in named.items()}
        xyz = found.pop("xyz")
        assert xyz is not None
        return CloudFields(xyz[:, :3].astype(np.float64), **found)

    return CloudTable(count, tuple(k for k in ("colour", "normals") if named[k]), load)


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read(file)
    return shape, dtype


def _numbers(
    shape: tuple[int, ...], dtype: np.dtype[Any], *, path: str, columns: tuple[int, ...]
) -> None:
    """Refuse what is no table of points. `columns` () takes 3 to 64."""
    fits = len(shape) == 2 and (shape[1] in columns if columns else 3 <= shape[1] <= 64)
    if not fits or dtype.kind not in "fui":
        said = "x".join(map(str, shape))
        wanted = " or ".join(map(str, columns)) or "3 or more"
        what = f"{path} is" if path else "is"
        raise ValueError(f"{what} {dtype} {said}; wanted numbers [N, {wanted}]")


def _las(path: str) -> CloudTable:
    laspy = needed("laspy", "las")
    with laspy.open(path) as file:
        header = file.header
        count = int(header.point_count)
        names = list(header.point_format.dimension_names)
    has = ("colour",) if {"red", "green", "blue"} <= set(names) else ()

    def load() -> CloudFields:
        las = laspy.read(path)
        xyz = np.stack([np.asarray(las[k], dtype=np.float64) for k in "xyz"], axis=1)
        colour = np.stack([np.asarray(las[k]) for k in _COLOURS[0]], axis=1) if has else None
        return CloudFields(xyz, colour, None)

    return CloudTable(count, has, load)


def _pcd(path: str) -> CloudTable:
    pcd = open_pcd(path)
    names = [*pcd.kinds]
    packed = next((name for name in ("rgb", "rgba") if name in names), "")
    has = _has([*names, *(("r", "g", "b") if packed else ())])

    def load() -> CloudFields:
        columns = pcd.load()
        if packed:
            columns |= _unpacked(columns[packed])
        return _of_columns(columns)

    return CloudTable(pcd.count, has, load)


def _unpacked(colour: NDArray[Any]) -> dict[str, NDArray[np.uint8]]:
    """Of three bytes in a whole number, which may be stored as the float of the same bits."""
    bits = colour if colour.dtype.kind in "ui" else colour.astype("<f4").view("<u4")
    shifts = {"r": 16, "g": 8, "b": 0}
    return {name: (bits >> by & 255).astype(np.uint8) for name, by in shifts.items()}


_OPEN: Mapping[str, Callable[[str], CloudTable]] = {
    ".ply": _ply,
    ".pcd": _pcd,
    ".npy": _npy,
    ".npz": _npz,
    ".las": _las,
    ".laz": _las,
    ".png": open_depth,
}
