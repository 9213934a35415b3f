import pytest
import torch
from torch import nn

from manyviews.core import Hide, Unsupported
from manyviews.core.inputs import Frames
from manyviews.encoders.video import R2Plus1D, R2Plus1DConfig

SMALL = Frames(side=64, frames=8, rate=16.0)


def small(input=SMALL, width=8, depth=1):
    torch.manual_seed(0)
    return R2Plus1D(R2Plus1DConfig(input=input, width=width, depth=depth))


def clips(count=3, input=SMALL):
    return torch.randn(count, *input.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("input", "grid"),
    [
        (SMALL, (1, 2, 2)),
        (Frames(side=40, frames=12), (2, 2, 2)),
        (Frames(side=32, frames=4), (1, 1, 1)),
    ],
)
def test_features_have_the_shapes_that_the_encoder_says(input, grid):
    encoder = small(input)
    features = encoder(clips(input=input))
    assert encoder.grid == grid
    assert features.pooled.shape == (3, encoder.dim) == (3, 64)
    assert features.tokens.shape == (3, encoder.num_tokens, encoder.dim)


def test_the_default_is_r2plus1d_18_as_avid_has_it():
    encoder = R2Plus1D(R2Plus1DConfig())
    assert encoder.dim == 512
    assert encoder.grid == (1, 7, 7)
    # The stem, four convolutions in each of 8 blocks, and three shortcuts.
    assert sum(isinstance(m, nn.Conv3d) for m in encoder.modules()) == 1 + 4 * 8 + 3
    block = 9 + 3  # weights of a pair for each channel in and out
    convolutions = 3 * 3 * 49 * 64 + 64**2 * block * 4
    for out in (128, 256, 512):
        convolutions += out * out // 2 * 9 + 3 * out**2 + out**2 * block * 3 + out * out // 2
    norms = sum(2 * m.num_features for m in encoder.modules() if isinstance(m, nn.BatchNorm3d))
    assert sum(p.numel() for p in encoder.parameters()) == convolutions + norms


@pytest.mark.parametrize("depth", [1, 2])
def test_every_parameter_gets_a_gradient(depth):
    encoder = small(depth=depth)
    features = encoder(clips(2))
    (features.pooled.square().sum() + features.tokens.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_pooled_alone_reaches_every_parameter():
    encoder = small()
    encoder(clips(4)).pooled.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_pooled_is_the_largest_of_the_tokens():
    features = small()(clips())
    assert torch.equal(features.pooled, features.tokens.amax(dim=1))


def test_the_order_of_frames_matters():
    encoder = small().eval()
    x = clips()
    assert not torch.allclose(encoder(x).pooled, encoder(x.flip(2)).pooled, atol=1e-3)


def test_tokens_cannot_be_kept_or_hidden():
    hide = Hide(torch.zeros(3, 4, dtype=torch.bool), torch.zeros(64))
    for ask in ({"keep": torch.zeros(3, 1, dtype=torch.int64)}, {"hide": hide}, {"blocks": 1}):
        with pytest.raises(Unsupported, match="R2Plus1D"):
            small()(clips(), **ask)


def test_finished_clips_give_what_contiguous_ones_give():
    random = torch.Generator().manual_seed(0)
    raw = torch.randint(0, 256, (2, 8, 64, 64, 3), dtype=torch.uint8, generator=random)
    encoder, x = small().eval(), SMALL.finish(raw)
    assert not x.is_contiguous()
    torch.testing.assert_close(encoder(x).pooled, encoder(x.contiguous()).pooled)
