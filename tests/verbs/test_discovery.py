"""`evaluate --protocol discovery` from the files to the result."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import manyviews
from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders import ResNetSmallConfig, build
from manyviews.runs import discover
from manyviews.runs.embedder import save_encoder

torch.set_num_threads(1)


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(0)
    config = ResNetSmallConfig(input=Pixels(side=128), width=8, zero_init=False)
    run = tmp_path / "run"
    run.mkdir()
    save_encoder(run / "encoder.safetensors", build(config), config=config, info={})
    return run


@pytest.fixture
def boxed(tmp_path):
    """A striped square at the left border of a plain, wide picture: a crop would cut it off."""
    root = tmp_path / "boxed"
    root.mkdir()
    images, boxes = [], []
    for i in range(6):
        pixels = np.full((128, 256, 3), 70.0)
        top = 8 * i
        pixels[top : top + 64, :64] = 70
        pixels[top : top + 64 : 2, :64] = (250, 250, 30)
        Image.fromarray(pixels.astype("u1")).save(root / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png"})
        boxes.append({"image_id": i, "category_id": 1, "bbox": [0, top, 64, 64]})
    said = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "thing"}]}
    (root / "boxes.json").write_text(json.dumps(said))
    return root


def test_boxes_are_compared_in_the_images_own_pixels(run, boxed, monkeypatch):
    """One that is right of the first image is half as high as that, and each is 8 pixels lower."""
    always = SimpleNamespace(box=(0.0, 0.0, 0.25, 0.5))
    monkeypatch.setattr(discover, "WAYS", {"a corner": lambda patches, grid: always})
    done = manyviews.evaluate(run, data=str(boxed), protocol="discovery", baselines=False)
    assert done.found[0].result.value == 3 / 6  # overlaps of 1, 56 / 72, 48 / 80, 40 / 88, ...


def test_both_ways_are_measured_beside_others_and_kept(run, boxed):
    done = manyviews.evaluate(run, data=str(boxed), protocol="discovery")
    [found] = done.found
    assert list(found.result.measures) == ["CorLoc of TokenCut", "CorLoc of LOST"]
    assert found.beside["the whole image"].value == 0
    assert list(found.beside) == ["the whole image", "untrained encoder"]
    assert found.result.lines()[0].endswith("; 6 examples")
    [kept] = (run / "evaluation").glob("discovery--*.json")
    assert json.loads(kept.read_text())["value"] == found.result.value
    with pytest.raises(UsageError, match="discovery learns nothing"):
        manyviews.evaluate(run, data=boxed, train_data=boxed, protocol="discovery")
