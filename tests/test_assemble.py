"""Where views are made changes nothing that training sees, beyond a level or two."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from manyviews import api
from manyviews.assemble import assemble
from manyviews.core import Clock
from manyviews.encoders import EncoderConfig
from manyviews.methods.dino import DINOConfig
from manyviews.recipes import RECIPES
from manyviews.views.engine import Engine
from manyviews.views.plan import Crops, Mask, Views
from manyviews.views.stage import Stage

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


def assembled(source, views_on):
    facts = api.facts(source, channels=3)
    run = RECIPES["dino"](facts)
    data = replace(run.data, batch_size=4, views_on=views_on, workers=0)
    encoder = EncoderConfig(name="resnet_small", image_size=0, channels=0)
    return assemble(replace(run, views=PLAN, data=data, encoder=encoder, method=METHOD))


@pytest.mark.parametrize("built_in", [True, False], ids=["arrays", "files"])
def test_training_batches_are_the_same_wherever_views_are_made(photos, built_in):
    source = api.BUILTIN if built_in else photos
    here, there = assembled(source, "cpu"), assembled(source, "device")
    level = 1 / (255 * min(here.run.data.std))
    steps = zip(here.batches()(0, 3), there.batches()(0, 3), strict=True)
    for [mine], [theirs] in steps:
        assert torch.equal(mine.index, theirs.index)
        assert mine.cues.keys() == theirs.cues.keys() == {"mask"}
        assert torch.equal(mine.cues["mask"], theirs.cues["mask"])
        assert mine.views.keys() == theirs.views.keys() == {"global", "local"}
        for name, views in mine.views.items():
            assert theirs.views[name].dtype == views.dtype
            assert theirs.views[name].stride() == views.stride()
            off = (views - theirs.views[name]).abs()
            assert (off > 2.5 * level).float().mean() < 2e-3
            assert off.mean() < 0.3 * level


def test_a_run_that_goes_on_sees_the_batches_it_would_have_seen(photos):
    assembly = assembled(photos, "device")
    *_, [last] = assembly.batches()(0, 6)
    [[resumed]] = assembly.batches()(5, 6)
    for name, views in last.views.items():
        assert torch.equal(resumed.views[name], views)


def test_a_training_step_runs_on_views_made_on_the_device(photos):
    assembly = assembled(photos, "device")
    [[batch]] = assembly.batches()(0, 1)
    step = assembly.method(batch, Clock(0, 10))
    step.total.backward()
    assert torch.isfinite(step.total)


def test_the_workers_make_what_the_device_does_not(photos):
    kinds = {where: type(assembled(photos, where).maker) for where in ("cpu", "device")}
    assert kinds == {"cpu": Engine, "device": Stage}


def test_views_are_made_where_the_method_is_and_not_compiled_on_a_cpu(photos):
    assembly = assembled(photos, "device")
    assert assembly.device_views.device == assembly.device == torch.device("cpu")
    assert assembly.device_views.views == assembly.run.views
    assert not assembly.device_views.compiled
