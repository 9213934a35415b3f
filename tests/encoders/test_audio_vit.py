import pytest
import torch

from manyviews import encoders
from manyviews.core import Hide, Unsupported, UsageError
from manyviews.core.inputs import LogMel
from manyviews.core.positions import sincos
from manyviews.encoders.settings import AudioViTConfig

FED = LogMel(rate=8000, seconds=0.16, bins=8)


def small(**change):
    torch.manual_seed(0)
    sizes = {"patch": 4, "width": 16, "depth": 2, "heads": 2, "input": FED} | change
    return encoders.build(AudioViTConfig(**sizes)).eval()


def spectrograms(count=3, input=FED):
    return torch.randn(count, *input.shape, generator=torch.Generator().manual_seed(0))


def test_features_have_the_shapes_that_the_encoder_says():
    encoder = small()
    features = encoder(spectrograms(), blocks=2)
    assert (encoder.grid, encoder.patch) == ((4, 2), (4, 4))
    assert features.tokens.shape == (3, 8, 16) == (3, encoder.num_tokens, encoder.dim)
    torch.testing.assert_close(features.pooled, features.tokens.mean(dim=1))
    assert features.class_token.shape == (3, 16)
    assert [h.shape for h in features.hidden] == [(3, 8, 16)] * 2
    torch.testing.assert_close(encoder.norm(features.hidden[-1]), features.tokens)


def test_the_default_is_audio_maes_vit_b():
    with torch.device("meta"):
        encoder = encoders.build(AudioViTConfig())
    assert (encoder.grid, encoder.dim, encoder.num_tokens) == ((64, 8), 768, 512)
    assert encoder.input.shape == (1, 1024, 128)
    assert encoder.input.std == pytest.approx(2 * 4.5689974)
    assert encoder.pos_embed.shape == (1, 513, 768)
    block = 12 * 768**2 + 13 * 768
    assert sum(p.numel() for p in encoder.parameters()) == 12 * block + 768 * 257 + 3 * 768
    assert encoder.blocks[0].attn.num_heads == 12


def test_a_token_is_the_linear_image_of_its_patch_at_its_place_time_first():
    encoder, x = small(), spectrograms()
    weight = encoder.patch_embed.proj.weight.flatten(1)
    for n in range(8):
        time, band = n // 2 * 4, n % 2 * 4
        cut = x[:, 0, time : time + 4, band : band + 4].flatten(1)
        wanted = cut @ weight.T + encoder.patch_embed.proj.bias + sincos(16, (4, 2))[n]
        torch.testing.assert_close(encoder.embed(x)[:, n], wanted)


def test_kept_tokens_are_all_that_is_seen():
    encoder, x = small(), spectrograms()
    keep = torch.tensor([[0, 3, 6]]).expand(3, -1)
    some = encoder(x, keep=keep)
    assert some.tokens.shape == (3, 3, 16)
    changed = x.clone()
    changed[:, :, :4, 4:] += 1  # token 1
    assert torch.equal(encoder(changed, keep=keep).pooled, some.pooled)
    every = torch.arange(8).expand(3, -1)
    torch.testing.assert_close(encoder(x, keep=every).tokens, encoder(x).tokens)


def test_hidden_tokens_are_replaced_before_positions_are_added():
    encoder, x = small(), spectrograms()
    where = torch.zeros(3, 8, dtype=torch.bool)
    where[:, 5] = True
    token = torch.randn(16)
    embedded = encoder.embed(x, hide=Hide(where, token))
    torch.testing.assert_close(embedded[:, 5], (token + sincos(16, (4, 2))[5]).expand(3, -1))
    assert torch.equal(embedded[:, :5], encoder.embed(x)[:, :5])


def test_every_parameter_gets_a_gradient_and_has_a_depth():
    encoder = small().train()
    encoder(spectrograms()).pooled.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    layers = encoder.by_depth()
    assert len(layers) == 3
    listed = {id(p) for layer in layers for p in layer}
    rest = [name for name, p in encoder.named_parameters() if id(p) not in listed]
    assert rest == ["norm.weight", "norm.bias"]
    assert all(any(p is q for q in layers[0]) for p in encoder.patch_embedding())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch": 5}, "16 frames and 8 bands cannot be cut into patches of 5"),
        ({"width": 18, "heads": 4}, "width of 18 cannot be split over 4 heads"),
        ({"width": 15, "heads": 3}, "width of 15"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_the_flags(change, words):
    with pytest.raises(UsageError, match=f"{words}.*--encoder"):
        small(**change)


def test_what_cannot_be_done_is_refused():
    with pytest.raises(Unsupported, match=r"spectrograms of \(1, 16, 8\).*\(1, 12, 8\)"):
        small()(spectrograms(input=LogMel(rate=8000, seconds=0.12, bins=8)))
    with pytest.raises(Unsupported, match="3 blocks were asked of a transformer that has 2"):
        small()(spectrograms(), blocks=3)
