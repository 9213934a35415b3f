from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from manyviews.core.settings import parts, struct
from manyviews.recipes import RECIPES
from manyviews.runs import against
from manyviews.runs.assemble import assemble
from manyviews.runs.facts import facts


@pytest.fixture
def assembly(tmp_path):
    g = np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(g.integers(0, 255, (20, 20, 3)).astype(np.uint8)).save(
            tmp_path / f"{i}.png"
        )
    run = RECIPES["cmc"](facts(str(tmp_path)))
    small = {name: replace(config, width=4) for name, config in parts(run.encoders).items()}
    return assemble(replace(run, encoders=struct("Encoders", small)))


def test_an_encoder_without_views_of_its_own_is_looked_at_with_those_that_it_sees(assembly):
    one, two = (against._views(assembly, name, [0, 3]) for name in ("L", "ab"))
    assert one.shape == (2, against.VIEWS, 3, 20, 20)
    assert torch.equal(one, two)


def test_both_encoders_see_one_crop_of_three_channels(assembly):
    [batch] = next(iter(assembly.batches(processes=0)(0, 1)))
    assert batch.views["global"].shape[1:] == (1, 3, 20, 20)
