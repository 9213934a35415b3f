import pytest
import torch

from manyviews import encoders
from manyviews.core import Hide, Unsupported, UsageError
from manyviews.core.inputs import Frames
from manyviews.core.positions import sinusoid
from manyviews.encoders.settings import TubeletsConfig

FED = Frames(side=16, frames=4, rate=8.0)


def small(**change):
    torch.manual_seed(0)
    sizes = {"tubelet": 2, "patch": 8, "width": 16, "depth": 2, "heads": 2, "input": FED} | change
    return encoders.build(TubeletsConfig(**sizes)).eval()


def clips(count=3, input=FED):
    return torch.randn(count, *input.shape, generator=torch.Generator().manual_seed(0))


def test_features_have_the_shapes_that_the_encoder_says():
    encoder = small(input=Frames(side=24, frames=6), patch=8, tubelet=3)
    features = encoder(clips(input=encoder.input), blocks=2)
    assert (encoder.grid, encoder.patch) == ((2, 3, 3), (3, 8, 8))
    assert features.tokens.shape == (3, 18, 16) == (3, encoder.num_tokens, encoder.dim)
    torch.testing.assert_close(features.pooled, features.tokens.mean(dim=1))
    assert [h.shape for h in features.hidden] == [(3, 18, 16)] * 2
    torch.testing.assert_close(encoder.norm(features.hidden[-1]), features.tokens)
    assert features.class_token is None


def test_the_default_is_vit_b_over_tubelets():
    config = TubeletsConfig()
    with torch.device("meta"):
        encoder = encoders.build(config)
    assert (encoder.grid, encoder.dim, encoder.num_tokens) == ((8, 14, 14), 768, 1568)
    block = 12 * 768**2 + 13 * 768  # q, k, v, projection and MLP; biases and norms
    embedding = 768 * (3 * 2 * 16 * 16) + 768
    assert sum(p.numel() for p in encoder.parameters()) == 12 * block + embedding + 2 * 768
    assert encoder.blocks[0].attn.num_heads == 12


def test_a_token_is_the_linear_image_of_its_tubelet_at_its_place():
    encoder, x = small(), clips()
    weight = encoder.patch_embed.proj.weight.flatten(1)
    n = 0
    for t in range(2):
        for row in range(2):
            for column in range(2):
                cut = x[:, :, 2 * t : 2 * t + 2, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                wanted = cut.flatten(1) @ weight.T + encoder.patch_embed.proj.bias
                wanted = wanted + sinusoid(16, 8)[n]
                torch.testing.assert_close(encoder.embed(x)[:, n], wanted)
                n += 1


def test_positions_are_those_of_videomae():
    """get_sinusoid_encoding_table of modeling_finetune.py, entry by entry; not in the file."""
    table = sinusoid(6, 5)
    for place in range(5):
        for channel in range(6):
            angle = torch.tensor(place / 10000 ** (2 * (channel // 2) / 6), dtype=torch.float64)
            wanted = angle.cos() if channel % 2 else angle.sin()
            assert float(table[place, channel]) == pytest.approx(float(wanted), abs=1e-6)
    assert not [name for name in small().state_dict() if "position" in name]


def test_kept_tokens_are_all_that_is_seen():
    encoder, x = small(), clips()
    keep = torch.tensor([[0, 3, 6]]).expand(3, -1)
    some = encoder(x, keep=keep)
    assert some.tokens.shape == (3, 3, 16)
    changed = x.clone()
    changed[:, :, :2, :8, 8:] += 1  # token 1
    assert torch.equal(encoder(changed, keep=keep).tokens, some.tokens)
    changed[:, :, 2:, 8:, :8] += 1  # token 6
    assert not torch.equal(encoder(changed, keep=keep).tokens, some.tokens)
    every = torch.arange(8).expand(3, -1)
    torch.testing.assert_close(encoder(x, keep=every).tokens, encoder(x).tokens)
    back = encoder(x, keep=every.flip(1)).tokens.flip(1)
    torch.testing.assert_close(back, encoder(x).tokens)


def test_hidden_tokens_are_replaced_before_positions_are_added():
    encoder, x = small(), clips()
    where = torch.zeros(3, 8, dtype=torch.bool)
    where[:, 5] = True
    token = torch.randn(16)
    embedded = encoder.embed(x, hide=Hide(where, token))
    torch.testing.assert_close(embedded[:, 5], (token + sinusoid(16, 8)[5]).expand(3, -1))
    assert torch.equal(embedded[:, :5], encoder.embed(x)[:, :5])


def test_every_parameter_gets_a_gradient_and_has_a_depth():
    encoder = small().train()
    encoder(clips()).pooled.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    layers = encoder.by_depth()
    assert len(layers) == 3
    listed = {id(p) for layer in layers for p in layer}
    rest = [name for name, p in encoder.named_parameters() if id(p) not in listed]
    assert rest == ["norm.weight", "norm.bias"]
    assert encoder.patch_embedding() == layers[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch": 6}, "4 frames of 16 pixels cannot be cut into tubelets of 2 frames of 6"),
        ({"tubelet": 3}, "tubelets of 3 frames"),
        ({"width": 18, "heads": 4}, "width of 18 cannot be split over 4 heads"),
        ({"width": 15, "heads": 3}, "width of 15"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_the_flags(change, words):
    with pytest.raises(UsageError, match=f"{words}.*--encoder"):
        small(**change)


def test_what_cannot_be_done_is_refused():
    with pytest.raises(Unsupported, match=r"clips of \(3, 4, 16, 16\).*\(3, 2, 16, 16\)"):
        small()(clips(input=Frames(side=16, frames=2)))
    with pytest.raises(Unsupported, match="3 blocks were asked of a transformer that has 2"):
        small()(clips(), blocks=3)
