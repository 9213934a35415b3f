"""MaskFeat against its formula and against numbers of the authors' code (data/README.md)."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from manyviews.core import Clock, UsageError
from manyviews.methods.masked.maskfeat import MaskFeat, MaskFeatConfig
from manyviews.parts.hog import hog, hog_of_patches
from tiny import TinyViT, given, make_batch

SAVED = {
    k: torch.from_numpy(v)
    for k, v in np.load(Path(__file__).parent / "data" / "maskfeat.npz").items()
}


def test_histograms_are_those_of_the_authors_code():
    made = hog(SAVED["images"], cell=8)
    torch.testing.assert_close(made, SAVED["hog"], rtol=1e-5, atol=1e-6)
    assert made.isfinite().all()
    assert (made.norm(dim=2) < 1 + 1e-5).all()


def test_the_targets_of_patches_are_in_the_order_of_the_authors_code():
    made = hog_of_patches(SAVED["images"], patch=16, cells=2)
    torch.testing.assert_close(made, SAVED["labels"], rtol=1e-5, atol=1e-6)


def test_a_histogram_is_counted_pixel_by_pixel():
    image = torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1), mode="reflect")[0, 0]
    counted = torch.zeros(9, 2, 2).double()
    weight = (1, 2, 1)
    for row in range(6):
        for column in range(6):
            square = padded[row : row + 3, column : column + 3]
            x = sum(w * (square[i, 0] - square[i, 2]) for i, w in enumerate(weight))
            y = sum(w * (square[0, i] - square[2, i]) for i, w in enumerate(weight))
            angle = math.atan2(x, y) / math.pi * 9
            counted[math.floor(angle) % 9, row // 3, column // 3] += math.hypot(x, y)
    expected = counted / counted.norm(dim=0)
    torch.testing.assert_close(hog(image, cell=3)[0, 0], expected, rtol=1e-9, atol=1e-12)


def test_opposite_gradients_count_as_the_same_and_flat_cells_as_nothing():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    torch.testing.assert_close(hog(ramp, cell=4), hog(-ramp, cell=4))
    assert not hog(torch.full((1, 1, 8, 8), 0.3), cell=4).any()


def test_the_loss_is_the_mean_over_hidden_patches_and_values():
    torch.manual_seed(0)
    method = MaskFeat(given(TinyViT()), MaskFeatConfig()).double()
    batch = make_batch(0, local=0, dtype=torch.float64)
    images, hidden = batch.views["global"].flatten(0, 1), batch.cues["global.mask"].flatten(0, 1)
    target = hog_of_patches(images, patch=4, cells=2)
    kept = {}
    method.head.register_forward_hook(lambda m, i, o: kept.update(made=o))
    loss = method(batch, Clock(0, 1)).total
    expected = torch.stack(
        [((kept["made"][b, n] - target[b, n]) ** 2).mean() for b, n in hidden.nonzero().tolist()]
    ).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    got, wanted = (
        torch.autograd.grad(x, method.head.weight, retain_graph=True)[0] for x in (loss, expected)
    )
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)


def test_targets_see_the_image_and_the_encoder_does_not():
    torch.manual_seed(0)
    method = MaskFeat(given(TinyViT()), MaskFeatConfig())
    batch = make_batch(0, local=0)
    kept = []
    method.head.register_forward_hook(lambda m, i, o: kept.append(o))
    first = method(batch, Clock(0, 1)).total
    hidden = batch.cues["global.mask"].flatten(0, 1)
    cover = hidden.view(8, 2, 1, 4, 4).repeat_interleave(4, 3).repeat_interleave(4, 4)
    batch.views["global"].add_(torch.randn_like(batch.views["global"]) * cover)
    second = method(batch, Clock(0, 1)).total
    assert torch.equal(*kept)
    assert first != second


def test_cells_that_do_not_divide_a_patch_are_refused():
    with pytest.raises(UsageError, match=r"Patches of 4 .* 3 cells a side\. Set another --method"):
        MaskFeat(given(TinyViT()), MaskFeatConfig(cells=3))
