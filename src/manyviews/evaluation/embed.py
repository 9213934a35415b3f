"""Features as a file that other programs read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from manyviews.core import UsageError
from manyviews.core.files import atomic, write_array

_ROWS = 4096  # in one row group of a Parquet file


def write(
    path: Path | str,
    names: Sequence[str],
    features: Tensor,
    *,
    index: Tensor | None = None,
    times: Mapping[str, Tensor] | None = None,
    columns: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write features with the names of their images. The file is whole or not there.

    `.parquet` has the columns path (string), index (int64, position in the data set) and feature
    (fixed-size list of float32; at patch level a list of such lists). `.npy` holds the array; a
    file beside it, with .json after its name, the lists `path` and `index`.

    Args:
        path: ends in .parquet or .npy.
        names: N.
        features: [N, D], or [N, T, D] at patch level.
        index: [N] int64; counts up from 0 where it is not given.
        times: name -> [N] float64, further columns of either kind of file; of windows when they
            start and end.
        columns: further ones of a Parquet file, N values each; `.npy` has no place for them.

    Returns:
        The files written.

    Raises:
        UsageError: another ending, or names, features and index that do not belong together.
        Failure: the disk does not take the file.
    """
    path = Path(path)
    rows = list(range(len(names))) if index is None else index.tolist()
    if features.ndim not in (2, 3) or not len(names) == len(features) == len(rows):
        raise UsageError(
            f"Cannot write {path}: {len(names)} names, {len(rows)} indices and features of shape "
            f"{tuple(features.shape)}; wanted [N, D] or [N, T, D] and N of each."
        )
    array = features.detach().float().cpu().numpy()
    if path.suffix == ".parquet":
        seconds = {name: pa.array(x.numpy(), pa.float64()) for name, x in (times or {}).items()}
        _write_parquet(path, names, rows, array, seconds | dict(columns or {}))
        return [path]
    if path.suffix == ".npy":
        sidecar = path.with_name(path.name + ".json")
        write_array(path, array)
        with atomic(sidecar) as temporary:
            said: dict[str, Any] = {"path": list(names), "index": rows}
            said |= {name: x.tolist() for name, x in (times or {}).items()}
            temporary.write_text(json.dumps(said), encoding="ascii")
        return [path, sidecar]
    raise UsageError(f"Cannot write features as {path.name}; end the name in .parquet or .npy.")


def _write_parquet(
    path: Path,
    names: Sequence[str],
    rows: list[int],
    array: np.ndarray,
    more: Mapping[str, Any],
) -> None:
    kind = pa.float32()
    for size in reversed(array.shape[1:]):
        kind = pa.list_(kind, size)
    fields = [("path", pa.string()), ("index", pa.int64()), ("feature", kind)]
    schema = pa.schema([*fields, *((name, column.type) for name, column in more.items())])
    with atomic(path) as temporary, pq.ParquetWriter(temporary, schema) as file:
        for start in range(0, len(names), _ROWS):
            part = slice(start, start + _ROWS)
            feature = pa.array(array[part].reshape(-1))
            for size in reversed(array.shape[1:]):
                feature = pa.FixedSizeListArray.from_arrays(feature, size)
            # surrogates stand for bytes of a file name that are not UTF-8
            paths = [name.encode("utf-8", "replace").decode() for name in names[part]]
            columns = [pa.array(paths, pa.string()), pa.array(rows[part], pa.int64()), feature]
            columns += [column[part] for column in more.values()]
            file.write_table(pa.Table.from_arrays(columns, schema=schema))
