"""Where views are made changes nothing that training sees, beyond a level or two."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from manyviews.core import Clock
from manyviews.encoders import EncoderConfig
from manyviews.methods.distillation.dino import DINOConfig
from manyviews.recipes import RECIPES
from manyviews.runs.assemble import assemble
from manyviews.runs.facts import facts
from manyviews.views.plan import Crops, Mask, Views

PLAN = Views(
    global_=Crops(size=16, hue=0.2, solarize=(0.0, 0.5)),
    local=Crops(count=2, size=8, scale=(0.1, 0.4)),
    mask=Mask(ratio=0.5, patch=4),
)
METHOD = DINOConfig(hidden=16, bottleneck=8, prototypes=12)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(16):
        tall, wide = (60, 80) if i % 3 else (200, 120)
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((wide, tall), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return str(folder)


def assembled(source):
    run = RECIPES["dino"](facts(source, channels=3))
    data = replace(run.data, batch_size=4, workers=0)
    encoder = EncoderConfig(name="resnet_small", image_size=0, channels=0)
    return assemble(replace(run, views=PLAN, data=data, encoder=encoder, method=METHOD))


def test_a_run_that_goes_on_sees_the_batches_it_would_have_seen(photos):
    assembly = assembled(photos)
    *_, [last] = assembly.batches()(0, 6)
    [[resumed]] = assembly.batches()(5, 6)
    for name, views in last.views.items():
        assert torch.equal(resumed.views[name], views)


def test_a_training_step_runs_on_the_batches(photos):
    assembly = assembled(photos)
    [[batch]] = assembly.batches()(0, 1)
    step = assembly.method(batch, Clock(0, 10))
    step.total.backward()
    assert torch.isfinite(step.total)
