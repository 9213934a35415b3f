"""What `embed` writes for programs that show embeddings."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from manyviews.core import UsageError, progress
from manyviews.core.inputs import Pixels
from manyviews.data.sources import open_source
from manyviews.evaluation import embed
from manyviews.evaluation.features import Extracted
from manyviews.reports.maps import place
from manyviews.verbs import columns as handover
from manyviews.views.by_input import plain_of

PLAIN = plain_of(Pixels())


def source_of(folder, count=9):
    for i in range(count):
        Image.new("RGB", (100, 80), (i * 20, 0, 0)).save(folder / f"{i}.png")
    return open_source(str(folder), channels=3, max_pixels=10**6)


def extracted(*shape, index=None):
    features = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(len(features)) if index is None else torch.tensor(index)
    return Extracted(features, rows, ())


def test_a_file_of_features_has_places_files_and_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(embed, "_ROWS", 3)
    monkeypatch.setattr(handover, "BATCH", 3)
    (tmp_path / "photos").mkdir()
    source_of(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    source = open_source("photos", channels=3, max_pixels=10**6)
    found = extracted(4, 5, index=[0, 2, 5, 8])
    more = handover.columns(found, source, PLAIN, thumbnails=32)
    names = [source.name(i) for i in (0, 2, 5, 8)]
    embed.write(tmp_path / "x.parquet", names, found.features, index=found.index, columns=more)
    read = pq.read_table(tmp_path / "x.parquet")
    assert read.column_names == ["path", "index", "feature", "x", "y", "file", "image"]
    points = np.stack([read["x"].to_numpy(), read["y"].to_numpy()], axis=1)
    assert np.array_equal(points, place(found.features.numpy()))
    assert read["file"].to_pylist()[1] == str(tmp_path / "photos" / "2.png")
    picture = Image.open(io.BytesIO(read["image"].to_pylist()[2]["bytes"]))
    assert picture.size == (32, 26)
    assert picture.getpixel((3, 3)) == (100, 0, 0)  # of row 5


def test_what_follows_the_embedding_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_FIRST", 0.0)
    handover.columns(extracted(3, 4), source_of(tmp_path, count=3), PLAIN, thumbnails=8)
    assert capsys.readouterr().err == "placing on the map ...\nthumbnails: 0 of 3\n"


def test_a_picture_that_has_gone_since_is_missing(tmp_path):
    source = source_of(tmp_path, count=3)
    (tmp_path / "1.png").unlink()
    pictures = handover.columns(extracted(3, 4), source, PLAIN, thumbnails=8)["image"].to_pylist()
    assert [picture is None for picture in pictures] == [False, True, False]


def test_images_that_are_no_files_have_none():
    source = open_source("builtin:fashion", channels=1, max_pixels=10**6)
    assert set(handover.columns(extracted(3, 4), source, PLAIN)) == {"x", "y"}


def test_patches_have_no_place(tmp_path):
    assert set(handover.columns(extracted(3, 2, 4), source_of(tmp_path), PLAIN)) == {"file"}


def test_a_map_of_few_images_is_refused(tmp_path):
    with pytest.raises(UsageError, match="wants 20 samples or more; got 3"):
        handover.columns(extracted(3, 4), source_of(tmp_path), PLAIN, how="umap")
