import pytest
import torch
from torch import nn

from manyviews.core import Hide, Unsupported
from manyviews.core.inputs import LogMel
from manyviews.encoders.audio import AudioConv, AudioConvConfig

SMALL = LogMel(rate=8000, seconds=0.5, bins=40)


def small(input=SMALL, width=8, depth=1):
    torch.manual_seed(0)
    return AudioConv(AudioConvConfig(input=input, width=width, depth=depth))


def sounds(count=3, input=SMALL):
    return torch.randn(count, *input.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("input", "grid"), [(SMALL, (4, 3)), (LogMel(), (13, 8)), (LogMel(seconds=0.1), (1, 8))]
)
def test_features_have_the_shapes_that_the_encoder_says(input, grid):
    encoder = small(input)
    features = encoder(sounds(input=input))
    assert encoder.grid == grid
    assert features.pooled.shape == (3, encoder.dim) == (3, 64)
    assert features.tokens.shape == (3, encoder.num_tokens, encoder.dim)


def test_the_default_is_avids_in_kind():
    encoder = AudioConv(AudioConvConfig())
    assert encoder.dim == 512
    layers = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in layers] == [64, 64, 64, 128, 128, 256, 256, 512, 512]
    assert [m.stride[0] for m in layers] == [2, 2, 1, 2, 1, 2, 1, 1, 1]
    assert all(m.bias is None for m in layers)


@pytest.mark.parametrize("depth", [1, 2])
def test_every_parameter_gets_a_gradient(depth):
    encoder = small(depth=depth)
    encoder(sounds()).pooled.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_pooled_is_the_largest_of_the_tokens():
    features = small()(sounds())
    assert torch.equal(features.pooled, features.tokens.amax(dim=1))


def test_tokens_cannot_be_kept_or_hidden():
    hide = Hide(torch.zeros(3, 12, dtype=torch.bool), torch.zeros(64))
    for ask in ({"keep": torch.zeros(3, 1, dtype=torch.int64)}, {"hide": hide}, {"blocks": 1}):
        with pytest.raises(Unsupported, match="AudioConv"):
            small()(sounds(), **ask)


def test_waves_are_fed_as_the_input_finishes_them():
    waves = torch.randn(2, SMALL.samples, generator=torch.Generator().manual_seed(0))
    assert small()(SMALL.finish(waves)).pooled.isfinite().all()
