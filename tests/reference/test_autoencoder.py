"""Auto-encoders against their formula, and that the damage is done to the input alone."""

import pytest
import torch

from manyviews.core import Batch, Clock, UsageError
from manyviews.methods.masked.autoencoder import AutoEncoder, AutoEncoderConfig
from tiny import TinyConv, TinyViT, given, make_batch

SMALL = AutoEncoderConfig(code=4, hidden=8)


def made(encoder=TinyViT):
    torch.manual_seed(0)
    return AutoEncoder(given(encoder()), SMALL).double()


def batches():
    """The same views without and with masks."""
    with_masks = make_batch(0, local=0, dtype=torch.float64)
    return Batch(with_masks.views, with_masks.index, {}), with_masks


def by_hand(method, seen, images):
    """The mean over samples, channels, rows and columns, through plain matrix products."""
    x = method.code(method.online(seen).pooled)
    for layer in (0, 2, 4):
        x = x @ method.decoder[layer].weight.T + method.decoder[layer].bias
        x = x.clamp(min=0) if layer < 4 else x
    total = sum(((x[b] - image.flatten()) ** 2).sum() for b, image in enumerate(images))
    return total / images.numel()


@pytest.mark.parametrize("encoder", [TinyViT, TinyConv])
def test_the_loss_and_its_gradient_are_the_formula(encoder):
    method, (plain, masked) = made(encoder), batches()
    images = plain.views["global"].flatten(0, 1)
    hidden = masked.cues["global.mask"].flatten(0, 1)
    cover = hidden.view(-1, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    for batch, seen in ((plain, images), (masked, images * ~cover)):
        loss, expected = method(batch, Clock(0, 1)).total, by_hand(method, seen, images)
        torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
        got, wanted = (
            torch.autograd.grad(x, method.code.weight, retain_graph=True)[0]
            for x in (loss, expected)
        )
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-12)


def test_masks_that_do_not_divide_the_image_are_refused():
    class Odd(TinyConv):
        grid = (5, 5)

    batch = batches()[1]
    cues = {"global.mask": torch.zeros(8, 2, 25, dtype=torch.bool)}
    with pytest.raises(UsageError, match="5 x 5 places do not divide images of 16 x 16"):
        made(Odd)(Batch(batch.views, batch.index, cues), Clock(0, 1))
