"""Features as points on a plane."""

import importlib
import logging
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.extras import install

MapKind = Literal["pca", "umap", "pacmap"]

PACKAGES = {"umap": "umap-learn", "pacmap": "pacmap"}
FIRST = 50
"""Principal components that UMAP and PaCMAP are given: noise is left out, and time saved."""
LEAST = 20
"""Rows that UMAP and PaCMAP can place."""

Vectors = NDArray[np.floating[Any]]


def check_installed(how: MapKind) -> None:
    """Before features are made for it, that the package of a map is there.

    Raises:
        UsageError: it is missing.
    """
    if how in PACKAGES and find_spec(how) is None:
        raise _lacking(how)


def place(features: Vectors, how: MapKind = "pca", *, seed: int = 0) -> NDArray[np.float32]:
    """A point [N, 2] float32 for each row; the same features and seed give the same points.

    Rows are centred, brought to length 1 and centred again, so that distances go by the cosine.
    PCA shows the two directions of most variance and keeps large distances. UMAP (McInnes et al.
    2018, arXiv:1802.03426) and PaCMAP (Wang et al. 2021, arXiv:2012.04456) keep neighbours: sizes
    of clusters and distances between them mean little there.

    Args:
        features: [N, D].
        how: pca, or umap or pacmap where `pip install 'manyviews[maps]'` was done.
        seed: of UMAP and PaCMAP.

    Raises:
        UsageError: another name, a package that is missing, or too few rows.
    """
    rows = unit(np.asarray(features, dtype=np.float32) - np.mean(features, axis=0))
    if how == "pca":
        return components(rows, 2)
    makers: dict[str, Callable[[Any, int], Any]] = {"umap": _umap, "pacmap": _pacmap}
    if how not in makers:
        raise UsageError(f"map is '{how}'. Known: pca, {', '.join(makers)}.")
    if len(rows) < LEAST:
        raise UsageError(f"{how} wants {LEAST} samples or more; got {len(rows)}. Use the map pca.")
    first = components(rows, min(FIRST, *rows.shape))
    with _quiet(how):
        points = makers[how](_import(how), seed).fit_transform(first)
    return np.asarray(points, dtype=np.float32)


def components(rows: Vectors, count: int) -> NDArray[np.float32]:
    """The first principal components [N, count] of rows [N, D]; zeros where D is smaller."""
    mean = rows.mean(axis=0, dtype=np.float64)
    parts = [slice(start, start + 8192) for start in range(0, len(rows), 8192)]
    gram = np.zeros((rows.shape[1], rows.shape[1]))
    for part in parts:  # a whole copy in float64 may not fit
        centred = rows[part] - mean
        gram += centred.T @ centred
    _, basis = np.linalg.eigh(gram)
    axes = basis[:, ::-1][:, :count]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    found = np.zeros((len(rows), count), dtype=np.float32)
    for part in parts:
        found[part, : axes.shape[1]] = (rows[part] - mean) @ axes
    return found


def unit(rows: Vectors) -> NDArray[np.float32]:
    """Rows [N, D] brought to length 1; zeros stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(length, 1e-12)).astype(np.float32)


@contextmanager
def _quiet(how: str) -> Generator[None]:
    """No remarks on the seed, the metric or an optional TensorFlow."""
    logger = logging.getLogger(how)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _import(how: str) -> Any:
    try:
        return importlib.import_module(how)
    except ImportError:
        raise _lacking(how) from None


def _lacking(how: str) -> UsageError:
    return UsageError(
        f"The map {how} needs the package {PACKAGES[how]}. Install it: {install('maps')}, "
        "or use the map pca."
    )


def _umap(package: Any, seed: int) -> Any:
    return package.UMAP(n_neighbors=15, min_dist=0.1, random_state=seed, n_jobs=1)


def _pacmap(package: Any, seed: int) -> Any:
    return package.PaCMAP(n_components=2, n_neighbors=10, random_state=seed, apply_pca=False)
