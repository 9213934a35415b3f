import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from manyviews.core import Failure, UsageError
from manyviews.evaluation import embed as room
from manyviews.evaluation.embed import write


@pytest.mark.parametrize("shape", [(7, 3), (7, 2, 3)])
def test_parquet_holds_path_index_and_feature(tmp_path, shape, monkeypatch):
    monkeypatch.setattr(room, "_ROWS", 3)
    features = torch.randn(*shape, dtype=torch.bfloat16)
    names = [f"é {i}.png" for i in range(7)]
    index = torch.tensor([0, 2, 3, 4, 5, 8, 9])
    path = tmp_path / "new" / "out.parquet"
    assert write(path, names, features, index=index) == [path]
    read = pq.read_table(path)
    assert read.column_names == ["path", "index", "feature"]
    assert read["path"].to_pylist() == names
    assert read["index"].to_pylist() == index.tolist()
    assert str(read.schema.field("feature").type).startswith("fixed_size_list")
    assert np.array(read["feature"].to_pylist()).shape == shape
    assert torch.equal(torch.tensor(read["feature"].to_pylist()), features.float())


@pytest.mark.parametrize("shape", [(7, 3), (7, 2, 3)])
def test_npy_holds_the_array_and_the_names_lie_beside_it(tmp_path, shape):
    features = torch.randn(*shape)
    names = [f"a\n{i}.png" for i in range(7)]
    paths = write(tmp_path / "out.npy", names, features)
    assert paths == [tmp_path / "out.npy", tmp_path / "out.npy.json"]
    assert np.array_equal(np.load(paths[0]), features.numpy())
    assert json.loads(paths[1].read_text()) == {"path": names, "index": list(range(7))}


@pytest.mark.parametrize("name", ["out.npy", "out.parquet"])
def test_names_that_are_not_utf8_are_written_all_the_same(tmp_path, name):
    odd = b"\xff.png".decode("utf-8", "surrogateescape")
    assert write(tmp_path / name, [odd], torch.ones(1, 2))[0].is_file()


@pytest.mark.parametrize(
    ("name", "count", "shape", "index"),
    [
        ("out.csv", 2, (2, 3), None),
        ("out", 2, (2, 3), None),
        ("out.npy", 3, (2, 3), None),
        ("out.npy", 2, (2,), None),
        ("out.parquet", 2, (2, 3), torch.arange(3)),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, count, shape, index):
    with pytest.raises(UsageError) as caught:
        write(tmp_path / name, ["a"] * count, torch.ones(shape), index=index)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.npy", "out.parquet"])
def test_a_failure_half_way_leaves_the_old_file(tmp_path, name, monkeypatch):
    write(tmp_path / name, ["a"], torch.ones(1, 2))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Failure, match="No space left"):
        write(tmp_path / name, ["b"], torch.zeros(1, 2))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path):
    path = tmp_path / "out.npy"
    write(path, ["a"], torch.ones(1, 2))
    with path.open("rb") as file:
        write(path, ["b"], torch.zeros(1, 2))
        assert np.load(file).tolist() == [[1.0, 1.0]]
    assert np.load(path).tolist() == [[0.0, 0.0]]
