"""Where views are made changes nothing that training sees, beyond a level or two."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from manyviews.core import Clock
from manyviews.core.settings import struct
from manyviews.encoders import ResNetSmallConfig
from manyviews.methods.distillation.dino import DINOConfig
from manyviews.recipes import RECIPES
from manyviews.runs.assemble import assemble
from manyviews.runs.facts import facts
from manyviews.views.plan import Crops, Mask

PLAN = {
    "global": Crops(hue=0.2, solarize=(0.0, 0.5), mask=Mask(ratio=0.5)),
    "local": Crops(count=2, size=8, scale=(0.1, 0.4)),
}
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
    fed = replace(run.encoders.image.input, side=16)
    encoders = struct("Encoders", {"image": ResNetSmallConfig(input=fed)})
    views = struct("Views", PLAN)
    return assemble(replace(run, views=views, data=data, encoders=encoders, method=METHOD))


def test_a_run_that_goes_on_sees_the_batches_it_would_have_seen(photos):
    assembly = assembled(photos)
    *_, [last] = assembly.batches()(0, 6)
    [[resumed]] = assembly.batches()(5, 6)
    assert {"global", "local"} == set(last.views)
    assert {"global.mask"} == set(last.cues)
    for one, other in ((last.views, resumed.views), (last.cues, resumed.cues)):
        for name, made in one.items():
            assert torch.equal(other[name], made)


def test_a_training_step_runs_on_the_batches(photos):
    assembly = assembled(photos)
    [[batch]] = assembly.batches()(0, 1)
    step = assembly.method(batch, Clock(0, 10))
    step.total.backward()
    assert torch.isfinite(step.total)
