"""Frames that are predicted or interpolated: MAE whose hidden tokens are whole times of a clip."""

import pytest
import torch

from manyviews import encoders
from manyviews.core import Batch, Clock
from manyviews.core.inputs import Frames
from manyviews.core.settings import parts
from manyviews.encoders.settings import TubeletsConfig
from manyviews.methods.masked.mae import MAE, MAEConfig
from manyviews.recipes import RECIPES
from manyviews.runs.facts import typical_facts
from manyviews.views.draw import family
from manyviews.views.masks import masks
from tiny import given

FED = Frames(side=8, frames=8)
GRID = (4, 2, 2)


def hidden(recipe):
    """[3, 1, 16] bool: what the recipe hides of tubelets of two frames."""
    mask = parts(RECIPES[recipe](typical_facts()).views)["global"].mask
    drawn = {
        "seed": 0,
        "epoch": 0,
        "family": family("global.mask"),
        "index": torch.arange(3).numpy(),
    }
    return torch.from_numpy(masks(**drawn, count=1, grid=GRID, ratio=mask.ratio, kind=mask.kind))


@pytest.mark.parametrize(
    ("recipe", "shown"),
    [("frame-prediction", [0, 1, 2, 3]), ("frame-interpolation", [0, 1, 6, 7])],
)
def test_from_some_frames_the_values_of_the_others_are_told(recipe, shown):
    torch.manual_seed(0)
    encoder = encoders.build(TubeletsConfig(input=FED, patch=4, width=12, depth=1, heads=2))
    config = MAEConfig(width=8, depth=1, heads=2, normalise_patches=False)
    method = MAE(given(encoder), config).double()
    clips = torch.randn(3, 1, *FED.shape, dtype=torch.float64)
    cues = {"global.mask": hidden(recipe)}

    def step(views):
        return method(Batch({"global": views}, torch.arange(3), cues), Clock(0, 1))

    whole = step(clips)
    told = [t for t in range(8) if t not in shown]
    other = clips.clone()
    other[:, :, :, told] += torch.randn(3, 1, 3, 4, 8, 8, dtype=torch.float64)
    changed = step(other)
    assert torch.equal(changed.embedding["image"], whole.embedding["image"])  # it sees no more
    made = method.reconstruct(Batch({"global": clips}, torch.arange(3), cues))
    assert torch.equal(made[:, :, shown], clips[:, 0][:, :, shown])
    error = (made[:, :, told] - clips[:, 0][:, :, told]).square().mean()
    torch.testing.assert_close(whole.total, error)
