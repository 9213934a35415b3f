"""A change of structure changes no number: losses, settings, views and features as they were."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from write import DATA, HERE, RECIPES, losses, trained

import manyviews
from manyviews.core.inputs import Pixels
from manyviews.data.loader import rooms
from manyviews.data.sources import open_source
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Crops, Mask

STEPS = json.loads((HERE / "steps.json").read_text())


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_still_takes_the_same_steps(recipe, tmp_path):
    run = trained(recipe, tmp_path)
    assert losses(run) == [pytest.approx(step, rel=1e-4) for step in STEPS[recipe]["losses"]]
    assert (run / "config.yaml").read_text().splitlines() == STEPS[recipe]["config"]


def test_views_are_the_same_to_the_last_bit():
    plan = {
        "global": Crops(sigma=(0.1, 1.0), mask=Mask(ratio=0.75)),
        "local": Crops(count=2, size=16, scale=(0.1, 0.4), interpolation="bicubic"),
    }
    images = open_source(DATA, channels=3, max_pixels=10**6).stack["image"][:8]
    pipeline = Pipeline(plan, {"image": Fed(Pixels(side=28), (7, 7))}, seed=7)
    views = rooms(pipeline.makes, 8)
    cues = pipeline.make(images, np.arange(8), 3, views)
    found = {**views, "mask": cues["global.mask"]}
    hashes = {n: hashlib.sha256(np.ascontiguousarray(a)).hexdigest() for n, a in found.items()}
    assert hashes == json.loads((HERE / "views.json").read_text())


@pytest.mark.parametrize("name", ["simclr", "mae", "dino"])
def test_a_run_of_an_earlier_version_goes_on(name, tmp_path):
    run = tmp_path / name
    shutil.copytree(HERE / "runs" / name, run)
    expected = json.loads((run / "expected.json").read_text())
    (run / "encoder.safetensors").unlink()
    assert manyviews.resume(run).steps == 4
    assert losses(run) == [pytest.approx(step, rel=1e-4) for step in expected["losses"]]


@pytest.mark.parametrize("name", ["simclr", "mae", "dino"])
def test_an_encoder_of_an_earlier_version_embeds(name):
    run = HERE / "runs" / name
    expected = torch.tensor(json.loads((run / "expected.json").read_text())["features"])
    encoder = manyviews.load(run)
    images = open_source(DATA, channels=1, max_pixels=10**6).stack["image"][:4]
    torch.testing.assert_close(encoder(encoder.plain(images)), expected, rtol=1e-4, atol=1e-5)
