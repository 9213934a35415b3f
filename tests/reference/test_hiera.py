"""Hiera, and MAE on it, against numbers of the authors' code (data/README.md)."""

import pytest
import torch
from raw import assert_alike, hashed, load, summary, weigh

from manyviews import encoders
from manyviews.core import Batch, Clock
from manyviews.core.inputs import Frames, Pixels
from manyviews.encoders.settings import HieraConfig, HieraVideoConfig
from manyviews.methods.masked.mae import MAE, MAEConfig
from manyviews.parts.masking import visible
from tiny import given

SAVED = load("hiera")
SMALL = {"width": 8, "heads": 1, "depths": (1, 2, 2, 1)}
IMAGES = Pixels(side=64)
PATCH = 16


def theirs(name):
    """Our parameter -> the authors' name."""
    name = name.removeprefix("online.").removeprefix("decoder.")
    return f"encoder_{name}" if name.startswith("norm.") else name


def encoder(**given):
    return encoders.build(HieraConfig(input=IMAGES, **SMALL, **given)).double()


def images():
    return hashed("images", 3, *IMAGES.shape)


def test_the_classifiers_features_are_the_authors():
    model = encoder()
    weigh(model)
    found = model(images())
    torch.testing.assert_close(found.pooled, SAVED["pooled"], rtol=0, atol=1e-10)
    torch.testing.assert_close(found.tokens, SAVED["tokens"], rtol=0, atol=1e-10)


def test_the_fused_maps_are_the_authors():
    model = encoder(pools=2, fusion=True)
    weigh(model, theirs)
    torch.testing.assert_close(model(images()).tokens, SAVED["fused"], rtol=0, atol=1e-10)


def mae():
    """Our MAE on Hiera with the authors' weights.

    Their prediction of a patch lies channel, row, column; ours row, column, channel.
    """
    torch.manual_seed(0)
    config = MAEConfig(width=16, depth=2, heads=2)
    method = MAE(given(encoder(pools=2, fusion=True)), config).double()
    weigh(method, theirs)
    order = torch.arange(3 * PATCH**2).view(3, PATCH, PATCH).permute(1, 2, 0).flatten()
    last = method.decoder.decoder_pred
    with torch.no_grad():
        last.weight.copy_(last.weight[order].clone())
        last.bias.copy_(last.bias[order].clone())
    return method, order.argsort()


def test_the_whole_model_has_the_loss_and_the_gradients_of_the_authors_code():
    method, back = mae()
    kept = SAVED["kept"].view(3, 2, 2)
    hidden = ~kept.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1)
    batch = Batch({"global": images()[:, None]}, torch.arange(3), {"global.mask": hidden[:, None]})
    step = method(batch, Clock(0, 1))
    torch.testing.assert_close(step.total.detach(), SAVED["loss"], rtol=1e-7, atol=0)
    step.total.backward()
    gradients = {
        theirs(k): p.grad[back] if ".decoder_pred." in k else p.grad
        for k, p in method.named_parameters()
    }
    assert_alike(summary(gradients), SAVED["gradients"], within=1e-7)


def test_clips_have_units_of_two_frames_as_the_authors():
    fed = Frames(side=64, frames=4, rate=4.0)
    config = HieraVideoConfig(input=fed, pools=2, fusion=True, **SMALL)
    model = encoders.build(config).double()
    weigh(model, theirs)
    assert (model.grid, model.patch, model.unit) == ((2, 4, 4), (2, 16, 16), (1, 2, 2))
    kept = SAVED["video.kept"].view(1, 2, 2, 2)
    hidden = ~kept.repeat_interleave(2, 2).repeat_interleave(2, 3).flatten(1)
    keep = visible(hidden)
    tokens = model(hashed("clips", 1, *fed.shape), keep=keep).tokens
    # a unit's four tokens lie two by two: bring them next to one another, as the authors have them
    time, row, column = keep[0] // 16, keep[0] % 16 // 4, keep[0] % 4
    unit, inside = (time * 2 + row // 2) * 2 + column // 2, row % 2 * 2 + column % 2
    order = (unit * 4 + inside).argsort()
    expected = SAVED["video.units"].reshape(1, -1, 16)
    torch.testing.assert_close(tokens[:, order, :16], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("hiera_tiny", 27.1), ("hiera_small", 34.2), ("hiera_base", 50.8), ("hiera_base_plus", 69.0)],
)
def test_the_sizes_are_the_authors(name, millions):
    """Their tables count the classifier too, 0.8 to 0.9 million."""
    with torch.device("meta"):
        from manyviews.encoders.hiera import Hiera

        model = Hiera(HieraConfig(name=name))
    count = sum(p.numel() for p in model.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.06)
