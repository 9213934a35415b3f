import pytest
import torch
from torch import nn

from manyviews import encoders
from manyviews.core import Hide, Unsupported
from manyviews.core.inputs import Frames
from manyviews.encoders.convolutions3d import C3D, S3DG, C3DConfig, S3DGConfig

SMALL = Frames(side=64, frames=16, rate=8.0)
KINDS = {"c3d": C3DConfig, "s3dg": S3DGConfig}


def small(kind, input=SMALL, width=8):
    torch.manual_seed(0)
    return encoders.build(KINDS[kind](input=input, width=width))


def clips(count=2, input=SMALL):
    return torch.randn(count, *input.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "input",
    [SMALL, Frames(side=48, frames=5), Frames(side=80, frames=9), Frames(side=32, frames=1)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_features_have_the_shapes_that_the_encoder_says(kind, input):
    encoder = small(kind, input)
    features = encoder(clips(input=input))
    assert features.pooled.shape == (2, encoder.dim)
    assert features.tokens.shape == (2, encoder.num_tokens, encoder.dim)
    torch.testing.assert_close(features.pooled, features.tokens.mean(dim=1))


def test_the_defaults_are_as_large_as_the_authors():
    with torch.device("meta"):
        c3d, s3dg = encoders.build(C3DConfig()), encoders.build(S3DGConfig())
    assert (c3d.dim, c3d.grid) == (512, (2, 7, 7))
    assert (s3dg.dim, s3dg.grid) == (1024, (8, 7, 7))
    sizes = [1, 2, 4, 4, 8, 8, 8, 8]
    kernels = [m for m in c3d.modules() if isinstance(m, nn.Conv3d)]
    assert [m.out_channels // 64 for m in kernels] == sizes
    assert all(m.kernel_size == (3, 3, 3) for m in kernels)
    kernels = [m for m in s3dg.modules() if isinstance(m, nn.Conv3d)]
    assert len(kernels) == 5 + 9 * 8  # two in front, one and two; six, of which two are two
    assert sum(m.kernel_size == (3, 1, 1) for m in kernels) == 1 + 9 * 2
    outs = [m.out for m in s3dg.modules() if hasattr(m, "branches")]
    assert outs == [256, 480, 512, 512, 512, 528, 832, 832, 1024]  # Inception's, 3b to 5c


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient_and_has_a_depth(kind):
    encoder = small(kind).train()
    encoder(clips()).pooled.square().sum().backward()
    for name, p in encoder.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name
    listed = [id(p) for layer in encoder.by_depth() for p in layer]
    assert sorted(listed) == sorted(id(p) for p in encoder.parameters())


def test_a_gate_weighs_channels_by_all_of_them():
    gate = small("s3dg").stages[1][1].branches[0][-1]
    x = torch.randn(2, gate.weigh.in_features, 2, 3, 3)
    means = torch.einsum("bcthw->bc", x) / 18
    wanted = x * torch.sigmoid(means @ gate.weigh.weight.T + gate.weigh.bias)[..., None, None, None]
    torch.testing.assert_close(gate(x), wanted)


@pytest.mark.parametrize("kind", [C3D, S3DG])
def test_tokens_cannot_be_hidden(kind):
    encoder = small(kind.__name__.lower())
    hide = Hide(torch.zeros(2, encoder.num_tokens, dtype=torch.bool), torch.zeros(encoder.dim))
    with pytest.raises(Unsupported, match=f"{kind.__name__} has no tokens to keep or hide"):
        encoder(clips(), hide=hide)
