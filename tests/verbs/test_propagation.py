"""`evaluate --protocol propagation` from the files to the result."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import manyviews
from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders import ViTConfig, build
from manyviews.runs.embedder import save_encoder

torch.set_num_threads(1)


@pytest.fixture
def run(tmp_path):
    config = ViTConfig(input=Pixels(side=96), patch=16, width=16, depth=1, heads=2)
    run = tmp_path / "run"
    run.mkdir()
    save_encoder(run / "encoder.safetensors", build(config), config=config, info={})
    return run


@pytest.fixture
def videos(tmp_path):
    """A square that lies at the border, which a centre crop would cut off, and stays there."""
    folder = tmp_path / "videos" / "one"
    folder.mkdir(parents=True)
    there = np.zeros((96, 128), "u1")
    there[32:64, :16] = 1
    pixels = np.random.default_rng(0).integers(0, 60, (96, 128, 3)) + 190 * there[..., None]
    for t in range(4):
        Image.fromarray(pixels.astype("u1")).save(folder / f"{t}.jpg", quality=95)
        Image.fromarray(there).save(folder / f"{t}.png")
    return folder.parent


def test_a_run_is_measured_beside_pixels_and_masks_that_stay(run, videos):
    done = manyviews.evaluate(run, data=str(videos), protocol="propagation")
    [found] = done.found
    assert list(found.beside) == ["first mask", "raw pixels", "untrained encoder"]
    assert found.beside["first mask"].value == 1
    assert found.beside["raw pixels"].measures["J"].value > 0.6
    assert found.result.settings["grid"] == "6x6"
    [kept] = (run / "evaluation").glob("propagation--*.json")
    assert json.loads(kept.read_text())["value"] == found.result.value
    with pytest.raises(UsageError, match=r"propagation learns nothing\. Leave out --train-data"):
        manyviews.evaluate(run, data=videos, train_data=videos, protocol="propagation")
