"""Depth maps as clouds: where pixels stand, what is no depth map, what has no camera."""

import json

import numpy as np
import pytest
from PIL import Image

import clouds
from manyviews.core.sample import Unreadable
from manyviews.data.sources import open_media
from manyviews.data.streams.files import open_streams

CAMERA = {"fx": 50.0, "fy": 40.0, "cx": 9.5, "cy": 7.0, "scale": 500}


def depth(folder, name="a.png", *, camera=CAMERA, millimetres=None):
    folder.mkdir(exist_ok=True, parents=True)
    if millimetres is None:
        millimetres = np.random.default_rng(0).integers(0, 4000, (16, 20)).astype(np.uint16)
    Image.fromarray(millimetres).save(folder / name)
    if camera is not None:
        (folder / "intrinsics.json").write_text(json.dumps(camera))
    return folder / name, millimetres


def read(path):
    return open_streams(str(path))["points"].read()


def test_each_pixel_with_a_depth_is_projected_back_to_where_it_was(tmp_path):
    path, stored = depth(tmp_path / "data")
    x, y, z, *rest = read(path).T.astype(np.float64)
    assert np.isnan(rest).all()
    assert len(z) == (stored > 0).sum()
    # forward through the camera again
    columns, rows = x / z * CAMERA["fx"] + CAMERA["cx"], y / z * CAMERA["fy"] + CAMERA["cy"]
    again = np.zeros_like(stored)
    again[rows.round().astype(int), columns.round().astype(int)] = (z * 500).round()
    np.testing.assert_array_equal(again, stored)
    np.testing.assert_allclose(columns, columns.round(), atol=1e-4)


def test_the_camera_may_stand_above_and_counts_millimetres_if_not_told(tmp_path):
    plain = {k: v for k, v in CAMERA.items() if k != "scale"}
    path, stored = depth(tmp_path / "data" / "kind", camera=None)
    (tmp_path / "data" / "intrinsics.json").write_text(json.dumps(plain))
    assert read(path)[:, 2].max() == pytest.approx(stored.max() / 1000)


def test_pictures_beside_clouds_are_left_out(tmp_path):
    data = tmp_path / "data"
    clouds.folder(data, count=3)
    depth(data, "depth.png")
    Image.new("RGB", (9, 9)).save(data / "preview.png")
    source = open_media(str(data), ("points",))
    names = [source.name(i).rpartition("/")[2] for i in range(len(source))]
    assert names == ["00.ply", "01.ply", "02.ply", "depth.png"]


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        (None, "is a depth map without intrinsics.json in its folder or above it"),
        ({"fx": 1}, "which cannot be used"),
        ([1], "which cannot be used"),
        ({**CAMERA, "fx": "wide"}, "which cannot be used"),
        ({**CAMERA, "fy": 0}, "should be above 0"),
    ],
)
def test_a_depth_map_without_a_camera_is_unreadable_and_says_what_to_do(tmp_path, camera, words):
    path, _ = depth(tmp_path / "a" / "b" / "c" / "d" / "e", camera=camera)
    with pytest.raises(Unreadable) as error:
        open_streams(str(path))
    assert words in error.value.reason
    assert "\n" not in error.value.reason


def test_a_depth_map_of_nothing_or_cut_off_is_unreadable(tmp_path):
    path, _ = depth(tmp_path / "data", millimetres=np.zeros((4, 4), np.uint16))
    with pytest.raises(Unreadable, match="has no depth in any pixel"):
        read(path)
    path, _ = depth(tmp_path / "data", "b.png")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(Unreadable):
        read(path)
