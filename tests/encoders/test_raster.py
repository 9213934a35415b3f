"""An encoder of pixels' colours, each of which sees those before it alone."""

import math

import pytest
import torch

from manyviews import encoders
from manyviews.core import Hide, Unsupported, UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders.settings import RasterConfig

FED = Pixels(side=6, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
NET = RasterConfig(input=FED, colours=8, width=16, depth=3, heads=2)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return encoders.build(NET).eval()


def images(encoder, codes):
    """What shows these colours [B, N], as the encoder takes it."""
    pixels = encoder.colours[codes].transpose(1, 2).unflatten(2, encoder.grid)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (FED.mean, FED.std))
    return (pixels - mean) / std


@torch.no_grad()
def test_pixels_are_read_as_the_nearest_colour_row_by_row(encoder):
    codes = torch.randint(8, (2, 36))
    shown = images(encoder, codes)
    assert torch.equal(encoder.codes(shown), codes)
    near = shown + 1e-3 * torch.randn_like(shown)
    assert torch.equal(encoder.codes(near), codes)
    whole, read = encoder(shown, blocks=2), encoder(codes)
    assert torch.equal(whole.tokens, read.tokens)
    assert whole.tokens.shape == whole.hidden[0].shape == (2, 36, 16)
    assert len(whole.hidden) == 2
    assert torch.allclose(whole.pooled, whole.tokens.mean(dim=1))


@torch.no_grad()
@pytest.mark.parametrize("place", [0, 7, 34])
def test_a_token_knows_the_colours_before_it_and_no_other(encoder, place):
    codes = torch.randint(8, (1, 36))
    other = codes.clone()
    other[:, place] = (other[:, place] + 1) % 8
    same = (encoder(codes).tokens == encoder(other).tokens).all(dim=2)[0]
    assert same[: place + 1].all()
    assert not same[place + 1 :].any()


@torch.no_grad()
def test_the_same_colour_at_another_place_is_another_token(encoder):
    flat = encoder(torch.zeros(1, 36, dtype=torch.int64)).tokens[0]
    assert len(flat.unique(dim=0)) == 36


def test_a_palette_is_adopted_and_saved():
    made = encoders.build(NET)
    assert not made.adopted
    assert len(made.colours.unique(dim=0)) == 8
    palette = torch.rand(8, 3)
    made.adopt(palette)
    assert made.adopted
    again = encoders.build(NET)
    again.load_state_dict(made.state_dict())
    assert again.adopted
    assert torch.equal(again.colours, palette)


def test_first_weights_are_as_wide_as_the_authors():
    torch.manual_seed(0)
    made = encoders.build(RasterConfig(input=FED, colours=64, width=128, depth=4))
    block = made.blocks[1]
    wanted = {
        made.words.weight: 0.02,
        made.start: 0.02,
        made.positions: 0.01,
        block.qkv.weight: 1 / math.sqrt(128),
        block.proj.weight: 1 / math.sqrt(128 * 4),
        block.fc1.weight: 0.02,
        block.fc2.weight: 0.02,
    }
    for p, std in wanted.items():
        assert p.std().item() == pytest.approx(std, rel=0.2 if p.ndim == 1 else 0.05)
    assert block.heads == 2


def test_every_weight_learns_and_lies_at_a_depth(encoder):
    made = encoders.build(NET)
    tokens = made(torch.randint(8, (2, 36))).tokens
    (tokens * torch.randn_like(tokens)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in made.parameters())
    layers = made.by_depth()
    assert len(layers) == 1 + 3
    inside = {id(p) for layer in layers for p in layer}
    assert {k for k, p in made.named_parameters() if id(p) not in inside} == {"norm.weight"}


def test_what_it_cannot_do_is_refused(encoder):
    x = torch.zeros(1, 3, 6, 6)
    with pytest.raises(Unsupported, match="raster has no tokens to keep or hide"):
        encoder(x, keep=torch.zeros(1, 1, dtype=torch.int64))
    with pytest.raises(Unsupported, match="raster has no tokens to keep or hide"):
        encoder(x, hide=Hide(torch.zeros(1, 36, dtype=torch.bool), torch.zeros(16)))
    with pytest.raises(Unsupported, match=r"takes images of \(3, 6, 6\)"):
        encoder(torch.zeros(1, 3, 4, 4))
    with pytest.raises(Unsupported, match="4 blocks were asked of an encoder that has 3"):
        encoder(x, blocks=4)
    with pytest.raises(UsageError, match="width of 16 cannot be split over 3 heads"):
        encoders.build(RasterConfig(input=FED, width=16, heads=3))
