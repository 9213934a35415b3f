"""`evaluate --protocol segmentation` from the files to the result."""

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import manyviews
from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders import ViTConfig, build
from manyviews.runs.embedder import save_encoder

torch.set_num_threads(1)
TOLD = {"encoder": "vit_tiny_patch16_224", "image_size": 48}


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """Twelve pictures of a bright square of a patch somewhere on a dark ground."""
    root = tmp_path_factory.mktemp("masked")
    random = np.random.default_rng(0)
    for i in range(12):
        top, left = 16 * random.integers(0, 3, 2)
        mask = np.zeros((48, 48), "u1")
        mask[top : top + 16, left : left + 16] = 1
        pixels = random.normal(60, 20, (48, 48, 3)) + 120 * mask[..., None]
        Image.fromarray(pixels.clip(0, 255).astype("u1")).save(root / f"{i}.jpg", quality=95)
        Image.fromarray(mask).save(root / f"{i}.png")
    (root / "classes.txt").write_text("ground\nsquare\n")
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("other") / "vit.pth"
    torch.manual_seed(1)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    torch.save({"teacher": {f"backbone.{k}": v for k, v in model.state_dict().items()}}, path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "manyviews"


def measured(checkpoint, data, **given):
    told = TOLD | {"protocol": "segmentation"} | given
    return manyviews.evaluate(checkpoint, data=str(data), **told)


def test_patch_features_are_measured_beside_raw_pixels_and_an_untrained_encoder(
    checkpoint, masked, cache
):
    done = measured(checkpoint, masked)
    [found] = done.found
    assert list(found.beside) == ["raw pixels", "untrained encoder"]
    assert found.beside["raw pixels"].measures["mIoU of kNN"].value == 1
    assert (found.result.train, found.result.n, found.result.classes) == (10, 2, 2)
    assert found.result.settings["grid"] == "3x3"
    lines = done.lines()
    assert lines[0].startswith("segmentation: mIoU 0.")
    assert "2 test, 10 training examples, 2 classes" in lines[0]
    assert any("IoU by class: ground = 0." in line and ", square = " in line for line in lines)
    assert len(list(cache.glob("*.npy"))) == 6
    json.dumps(done.to_json())


def test_flags_that_are_for_something_else_are_refused(checkpoint, masked):
    with pytest.raises(UsageError, match="segmentation reads masks and knn labels"):
        measured(checkpoint, masked, protocol=["segmentation", "knn"])
    with pytest.raises(UsageError, match="--layer 2 is for features of whole images"):
        measured(checkpoint, masked, layer=2)
    with pytest.raises(UsageError, match=r"is no folder\. Images with masks are"):
        measured(checkpoint, masked / "0.jpg")


def test_a_run_keeps_the_result(tmp_path, masked):
    config = ViTConfig(input=Pixels(side=48), patch=16, width=16, depth=1, heads=2)
    run = tmp_path / "run"
    run.mkdir()
    save_encoder(run / "encoder.safetensors", build(config), config=config, info={})
    done = manyviews.evaluate(run, data=str(masked), protocol="segmentation", baselines=False)
    [kept] = (run / "evaluation").glob("segmentation--*.json")
    said = json.loads(kept.read_text())
    assert said["value"] == done.found[0].result.value
    assert said["content"] == done.content != ""
