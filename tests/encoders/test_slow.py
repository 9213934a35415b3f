import pytest
import torch
from torch import nn

from manyviews.core import Hide, Unsupported
from manyviews.core.inputs import Frames
from manyviews.encoders.slow import Slow, SlowConfig

SMALL = Frames(side=64, frames=8, rate=8.0)


def small(input=SMALL, layers=10, width=8):
    torch.manual_seed(0)
    return Slow(SlowConfig(input=input, layers=layers, width=width))


def clips(count=3, input=SMALL):
    return torch.randn(count, *input.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("input", "grid"),
    [
        (SMALL, (8, 2, 2)),
        (Frames(side=40, frames=3), (3, 2, 2)),
        (Frames(side=32, frames=1), (1, 1, 1)),
    ],
)
@pytest.mark.parametrize(("layers", "dim"), [(10, 64), (50, 256)])
def test_features_have_the_shapes_that_the_encoder_says(input, grid, layers, dim):
    encoder = small(input, layers)
    features = encoder(clips(input=input))
    assert encoder.grid == grid
    assert features.pooled.shape == (3, encoder.dim) == (3, dim)
    assert features.tokens.shape == (3, encoder.num_tokens, encoder.dim)
    torch.testing.assert_close(features.pooled, features.tokens.mean(dim=1))


def weights(encoder, kind):
    return sum(p.numel() for m in encoder.modules() if isinstance(m, kind) for p in m.parameters())


def test_the_default_is_the_authors_slow_only_resnet_50():
    """SlowFast resnet_helper.py: T x 1 x 1, 1 x 3 x 3, 1 x 1 x 1; T is 1, 1, 3, 3."""
    encoder = Slow(SlowConfig())
    assert encoder.dim == 2048
    assert encoder.grid == (8, 7, 7)
    convolutions, wide = 3 * 49 * 64, 64
    for blocks, inner, time in ((3, 64, 1), (4, 128, 1), (6, 256, 3), (3, 512, 3)):
        out = 4 * inner
        convolutions += wide * out  # the shortcut of the first block
        for k in range(blocks):
            convolutions += time * (out if k else wide) * inner + 9 * inner**2 + inner * out
        wide = out
    assert weights(encoder, nn.Conv3d) == convolutions
    # With a classifier of 400 classes 32.45 million (facebookresearch/pytorchvideo, model_zoo.md).
    rest = 2048 * 400 + 400
    assert round(sum(p.numel() for p in encoder.parameters()) / 1e6 + rest / 1e6, 2) == 32.45
    assert all(p.stride() == p.contiguous().stride() for p in encoder.parameters())


def test_eighteen_layers_are_pairs_of_wide_convolutions():
    encoder = Slow(SlowConfig(layers=18))
    assert encoder.dim == 512
    kernels = [
        tuple(m.kernel_size)
        for m in encoder.stages.modules()
        if isinstance(m, nn.Conv3d) and m.kernel_size[1] == 3
    ]
    assert kernels == [(1, 3, 3)] * 8 + [(3, 3, 3), (1, 3, 3)] * 4


def test_frames_keep_their_time_and_early_stages_do_not_look_around():
    encoder = small().eval()
    x = clips(1)
    changed = x.clone()
    changed[:, :, 4] += 1
    for stage, reach in ((1, 0), (2, 1), (3, 2)):
        before = encoder.stages[: stage + 1](encoder.stem(x))
        after = encoder.stages[: stage + 1](encoder.stem(changed))
        moved = (before != after).flatten(3).any(dim=3).any(dim=1)[0]
        assert moved.tolist() == [abs(t - 4) <= reach for t in range(8)]


def test_thirty_four_layers_are_sixteen_pairs():
    encoder = Slow(SlowConfig(layers=34, width=8))
    assert encoder.dim == 64
    assert len(encoder.by_depth()) == 1 + 16
    kernels = [m for m in encoder.modules() if isinstance(m, nn.Conv3d) and m.kernel_size[1] > 1]
    assert len(kernels) == 1 + 2 * 16


@pytest.mark.parametrize("layers", [10, 18, 34, 50])
def test_every_parameter_gets_a_gradient(layers):
    encoder = small(layers=layers, width=4)
    features = encoder(clips(2))
    features.pooled.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_its_depth_has_every_parameter_once():
    encoder = small(layers=18)
    layers = encoder.by_depth()
    assert len(layers) == 1 + 8
    listed = [id(p) for layer in layers for p in layer]
    assert sorted(listed) == sorted(id(p) for p in encoder.parameters())


def test_tokens_cannot_be_kept_or_hidden():
    hide = Hide(torch.zeros(3, 32, dtype=torch.bool), torch.zeros(64))
    for ask in ({"keep": torch.zeros(3, 1, dtype=torch.int64)}, {"hide": hide}, {"blocks": 1}):
        with pytest.raises(Unsupported, match="Slow has no tokens"):
            small()(clips(), **ask)


def test_finished_clips_give_what_contiguous_ones_give():
    random = torch.Generator().manual_seed(0)
    raw = torch.randint(0, 256, (2, 8, 64, 64, 3), dtype=torch.uint8, generator=random)
    encoder, x = small().eval(), SMALL.finish(raw)
    assert not x.is_contiguous()
    torch.testing.assert_close(encoder(x).pooled, encoder(x.contiguous()).pooled)
