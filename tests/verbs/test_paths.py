"""Data can be a string or a path, as in every library that reads files."""

import inspect
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

import manyviews

OF_DATA = {"data", "train_data", "labels"}
VERBS = {
    name: {n: p for n, p in inspect.signature(getattr(manyviews, name)).parameters.items()}
    for name in manyviews.__all__
}
ASKING = {name: OF_DATA & set(parameters) for name, parameters in VERBS.items()}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i in range(8):
        pixels = random.integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")
    return root


def test_most_verbs_read_data():
    assert sum(map(bool, ASKING.values())) >= 9


@pytest.mark.parametrize("name", [name for name, asked in ASKING.items() if asked])
def test_a_verb_takes_a_path(name):
    for parameter in ASKING[name]:
        assert Path in _kinds(VERBS[name][parameter].annotation), parameter


def _kinds(annotation):
    """All that an annotation allows, within those of tyro too."""
    inner = get_args(annotation)
    return {annotation, *(kind for part in inner for kind in _kinds(part))}


def test_a_path_is_trained_on_embedded_and_looked_at(photos, tmp_path):
    settings = {
        "train.steps": 1,
        "data.batch_size": 4,
        "data.workers": 0,
        "encoder.width": 8,
        "method.hidden": 8,
        "method.out": 4,
    }
    manyviews.train("simclr", data=photos, out=tmp_path / "run", overrides=settings)
    written = manyviews.embed(tmp_path / "run", data=photos, out=tmp_path / "x.npy")
    assert len(np.load(tmp_path / "x.npy")) == 8, written
    assert manyviews.doctor(photos, "simclr").report.count == 8
    assert len(manyviews.load(tmp_path / "run").predict(photos)) == 8
