"""Images with boxes from a folder: which part, which file, and what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import shapes
from manyviews.core import UsageError
from manyviews.evaluation.dense.boxed import open_boxed

torch.set_num_threads(1)
TOLD = {"channels": 3, "max_pixels": 10**6}


def changed(path, **values):
    said = json.loads(path.read_text())
    for name, change in values.items():
        said[name] = change(said[name])
    path.write_text(json.dumps(said))


def test_a_box_is_where_the_colour_is(tmp_path):
    shapes.draw(tmp_path, 6)
    opened = open_boxed(str(tmp_path), **TOLD)
    assert (len(opened), opened.split, opened.names) == (6, "whole", ("green", "red"))
    assert opened.sizes.tolist() == [[64, 48]] * 6
    for row, boxes in enumerate(opened.boxes):
        pixels = torch.tensor(np.array(opened.source.read(row))).double()
        for box, kind in zip(boxes.xyxy.int().tolist(), boxes.kinds.tolist(), strict=True):
            left, top, right, bottom = box
            inside = pixels[top:bottom, left:right]
            wanted = torch.tensor(shapes.COLOURS[opened.names[kind]]).double()
            assert torch.equal(inside, wanted.expand_as(inside))
            ring = pixels[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1]
            assert (ring == wanted).all(dim=2).sum() == (right - left) * (bottom - top)


def test_parts_are_hashed_or_given(tmp_path):
    shapes.draw(tmp_path / "one", 20)
    parts = [open_boxed(str(tmp_path / "one"), split=part, **TOLD) for part in ("train", "test")]
    assert [len(part) for part in parts] == [16, 4]
    names = [{part.source.name(i) for i in range(len(part))} for part in parts]
    assert not names[0] & names[1]
    two = tmp_path / "two"
    shapes.draw(two, 5, name="annotations/instances_train2017.json", folder="train2017")
    shapes.draw(two, 3, seed=1, name="annotations/instances_val2017.json", folder="val2017")
    parts = [open_boxed(str(two), split=part, **TOLD) for part in ("train", "test")]
    assert [(len(part), part.split) for part in parts] == [(5, "given"), (3, "given")]
    assert parts[0].content() != parts[1].content()


def test_crowds_are_known_and_boxes_without_area_left_out(tmp_path):
    path = shapes.draw(tmp_path, 1)
    one = {"image_id": 10, "category_id": 3, "id": 90}
    more = [one | {"bbox": [1, 2, 5, 6], "iscrowd": 1}, one | {"bbox": [1, 2, 0, 6]}]
    changed(path, annotations=lambda boxes: boxes[:1] + more)
    [boxes] = open_boxed(str(tmp_path), **TOLD).boxes
    assert boxes.crowd.tolist() == [False, True]
    assert boxes.xyxy[1].tolist() == [1, 2, 6, 8]


def test_what_cannot_be_meant_is_refused(tmp_path):
    path = shapes.draw(tmp_path, 3)
    with pytest.raises(UsageError, match=r"is no folder\. Images with boxes are"):
        open_boxed(str(path), **TOLD)
    whole = path.read_text()
    changed(path, images=lambda images: [images[0] | {"width": 60}, *images[1:]])
    with pytest.raises(UsageError, match="is 60 x 48 pixels, and the file has 64 x 48"):
        open_boxed(str(tmp_path), **TOLD)
    path.write_text(whole)
    changed(path, images=lambda images: [images[0] | {"file_name": "gone.png"}, *images[1:]])
    with pytest.raises(UsageError, match=r"names the image gone\.png, which is not there"):
        open_boxed(str(tmp_path), **TOLD)
    path.write_text(whole)
    (tmp_path / "copy").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "copy" / "0-0.png")
    with pytest.raises(UsageError, match=r"which may be copy/0-0\.png, images/0-0\.png"):
        open_boxed(str(tmp_path), **TOLD)
    changed(path, annotations=lambda boxes: [boxes[0] | {"category_id": 4}])
    with pytest.raises(UsageError, match=r"is no JSON as COCO's \(KeyError: 4\)"):
        open_boxed(str(tmp_path), **TOLD)
    path.with_name("other.json").write_text(whole)
    with pytest.raises(UsageError, match=r"has 2 JSON files for a part: annotations\.json, other"):
        open_boxed(str(tmp_path), **TOLD)
