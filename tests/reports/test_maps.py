"""Features on a plane."""

import importlib.util

import numpy as np
import pytest

import manyviews
from manyviews.core import UsageError
from manyviews.reports import maps
from manyviews.reports.maps import components, place, unit


def groups(count=60, width=8):
    random = np.random.default_rng(0)
    centres = 4 * np.eye(width)[[0, 1, 2]]
    labels = np.arange(count) % 3
    return (centres[labels] + random.normal(size=(count, width)) * 0.3).astype(np.float32), labels


def test_components_are_those_of_the_singular_value_decomposition():
    x = np.random.default_rng(1).normal(size=(50, 7)) * np.arange(1, 8)
    centred = x - x.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    found = components(x, 3)
    np.testing.assert_allclose(np.abs(found), np.abs(u * s)[:, :3], rtol=1e-5, atol=1e-6)


def test_components_of_many_rows_are_those_of_all_at_once(monkeypatch):
    x = np.random.default_rng(2).normal(size=(20_000, 3)) * [3, 2, 1] + [5, -1, 7]
    whole = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(
        np.abs(components(x, 1)[:, 0]), np.abs(whole[0] * whole[1])[:, 0], 1e-4
    )


def test_the_map_does_not_depend_on_lengths_beyond_the_mean():
    x, _ = groups()
    centred = x - x.mean(axis=0)
    np.testing.assert_allclose(place(x), components(unit(centred), 2), atol=1e-6)


def test_equal_features_and_narrow_ones_have_a_map():
    assert np.array_equal(place(np.ones((5, 3), np.float32)), np.zeros((5, 2)))
    assert place(np.array([[1.0], [2.0], [4.0]])).shape == (3, 2)


@pytest.mark.parametrize("how", ["umap", "pacmap"])
def test_neighbours_stay_together_and_the_seed_fixes_all(how):
    if importlib.util.find_spec(how) is None:
        pytest.skip(f"{how} is not installed")
    x, labels = groups()
    points = place(x, how)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1) + 1e9 * np.eye(len(points))
    assert (labels[apart.argmin(axis=1)] == labels).all()
    assert np.array_equal(points, place(x, how))


def test_a_package_that_is_missing_is_named(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(maps.importlib, "import_module", absent)
    with pytest.raises(UsageError, match=r"umap-learn. Install it: .* -m pip install '"):
        place(groups()[0], "umap")


def test_a_missing_package_is_said_before_features_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("version: 2\n")
    for ask in (
        lambda: manyviews.report(tmp_path / "run", map="umap"),
        lambda: manyviews.embed(
            tmp_path / "run", data="builtin:fashion", out=tmp_path / "x.parquet", map="umap"
        ),
    ):
        with pytest.raises(UsageError, match=r"needs the package umap-learn"):
            ask()
    maps.check_installed("pca")


def test_an_unknown_map_is_refused():
    with pytest.raises(UsageError, match="map is 'tsne'"):
        place(groups()[0], "tsne")
