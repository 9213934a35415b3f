"""Hiera's mask units, places and refusals; its numbers are in tests/reference/test_hiera.py."""

import re

import pytest
import torch

from manyviews import encoders
from manyviews.core import Batch, Clock, Hide, Unsupported, UsageError
from manyviews.core.inputs import Frames, Pixels
from manyviews.encoders import load_weights
from manyviews.encoders.settings import HieraConfig, HieraVideoConfig
from manyviews.evaluation.layer_choice import embed_at, taps
from manyviews.methods.masked.mae import MAE, MAEConfig
from manyviews.parts.masking import visible
from tiny import given

SMALL = HieraConfig(
    input=Pixels(side=32), patch=2, width=8, heads=1, depths=(1, 1, 2), pools=1, fusion=True
)
"""Mask units of 4 x 4 tokens of 2 pixels, at last 2 x 2: an 8 x 8 grid of patches of 4."""


def built(config=SMALL, **changes):
    torch.manual_seed(0)
    return encoders.build(config if not changes else replaced(config, **changes)).eval()


def replaced(config, **changes):
    return type(config)(**{**config.__dict__, **changes})


def units(shown, inside=2):
    """[U, U] bool -> the hidden tokens [1, N]."""
    shown = torch.tensor(shown).bool()
    return ~shown.repeat_interleave(inside, 0).repeat_interleave(inside, 1).flatten()[None]


SHOWN = [[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("fusion", [False, True])
def test_a_token_tells_of_its_own_place(fusion):
    """Before attention is global, and fused from stages within a unit, only its unit matters."""
    encoder = built(fusion=fusion, depths=(1, 1), pools=1, patch=4)
    assert (encoder.grid, encoder.unit) == ((4, 4), (1, 1))
    x = torch.randn(1, 3, 32, 32)
    changed = x.clone()
    changed[:, :, 11:13, 19:21] += 1  # the middle of the patch in row 1, column 2
    moved = (encoder(x).tokens - encoder(changed).tokens).abs().amax(dim=2)[0] > 1e-6
    assert moved.nonzero().flatten().tolist() == [1 * 4 + 2]


def test_units_that_are_left_out_are_as_if_their_pixels_were_not_there():
    encoder, x = built(), torch.randn(1, 3, 32, 32)
    hidden = units(SHOWN)
    keep = visible(hidden)
    noise = torch.randn_like(x)
    cover = hidden.view(1, 1, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    one, two = encoder(x, keep=keep), encoder(torch.where(cover, noise, x), keep=keep)
    assert torch.equal(one.tokens, two.tokens)
    assert one.tokens.shape == (1, 16, 32)
    assert not torch.allclose(one.tokens, encoder(x).tokens[0, keep])


def test_tokens_come_in_the_order_of_keep():
    encoder, x = built(), torch.randn(2, 3, 32, 32)
    keep = visible(units(SHOWN)).expand(2, -1)
    turned = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    tokens = encoder(x, keep=keep).tokens
    torch.testing.assert_close(encoder(x, keep=keep[:, turned]).tokens, tokens[:, turned])


def test_all_units_kept_are_the_whole_image():
    encoder, x = built(), torch.randn(2, 3, 32, 32)
    whole = encoder(x, blocks=2)
    kept = encoder(x, keep=torch.arange(64).expand(2, -1), blocks=2)
    torch.testing.assert_close(kept.tokens, whole.tokens)
    torch.testing.assert_close(kept.pooled, whole.pooled)
    for one, two in zip(kept.hidden, whole.hidden, strict=True):
        torch.testing.assert_close(one, two)


def test_without_tokens_the_pooled_features_are_the_same():
    encoder, x = built(fusion=False), torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(encoder(x, tokens=False).pooled, encoder(x).pooled)
    assert encoder(x, tokens=False).tokens.shape[1] == 0


@pytest.mark.parametrize("config", [SMALL, HieraConfig(name="hiera_tiny", pools=2, fusion=True)])
def test_mae_trains_all_of_it_and_a_loaded_checkpoint_continues_exactly(config):
    side = 64 if config.patch == 4 else 32

    def made(seed):
        torch.manual_seed(seed)
        encoder = encoders.build(replaced(config, input=Pixels(side=side), width=8))
        return MAE(given(encoder), MAEConfig(width=8, depth=1, heads=2))

    method = made(0)
    grid, unit = method.online.grid, method.online.unit[0]
    g = torch.Generator().manual_seed(0)
    order = torch.rand(3, (grid[0] // unit) ** 2, generator=g).argsort(dim=1)
    hidden = torch.stack([units((row < 2).view(grid[0] // unit, -1).tolist()) for row in order])
    images = torch.randn(3, 1, 3, side, side, generator=g)
    batch = Batch({"global": images}, torch.arange(3), {"global.mask": hidden})
    step = method(batch, Clock(0, 1))
    step.total.backward()
    assert [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None] == []
    other = made(1)
    assert other(batch, Clock(0, 1)).total != step.total
    other.load_state_dict(method.state_dict())
    assert other(batch, Clock(0, 1)).total == step.total


def test_every_block_can_be_probed():
    encoder = built()
    found = embed_at(encoder, taps(encoder))(torch.randn(2, 3, 32, 32))
    assert [part.shape for part in found] == [(2, 8), (2, 16), (2, 32), (2, 32)]
    assert len(encoder.by_depth()) == 5


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ({"keep": torch.arange(7)[None]}, r"whole mask units, of 2 x 2 .*mask\.unit 2"),
        ({"hide": Hide(torch.ones(1, 64).bool(), torch.zeros(32))}, "Choose a ViT"),
        ({"blocks": 3}, "whose last stage has 2"),
    ],
)
def test_what_it_cannot_do_is_one_line(ask, words):
    with pytest.raises(Unsupported, match=words):
        built()(torch.randn(1, 3, 32, 32), **ask)


def test_views_of_another_size_are_refused():
    with pytest.raises(Unsupported, match=r"\(3, 32, 32\) and was given \(3, 48, 48\)"):
        built()(torch.randn(1, 3, 48, 48))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": Pixels(side=28)}, r"28 x 28 cannot be cut into mask units of 8 x 8 pixels"),
        ({"pools": 3}, "3 stages pools 0 to 2 times, not 3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(UsageError, match=words):
        built(**changes)


def test_names_of_sizes_are_encoders_as_timms_are():
    assert encoders.named("hiera_base_plus", input=Pixels()).name == "hiera_base_plus"
    assert {"hiera_tiny", "hiera_huge"} < set(encoders.names())
    assert "hiera_video" not in encoders.names()  # which are of images
    assert {"hiera_huge", "hiera_video"} < set(encoders.kinds())


@pytest.mark.parametrize("fusion", [False, True])
def test_the_published_layout_loads(tmp_path, fusion):
    """Of the classifier, and of MAE: the sum of stages, whose norm has another name."""
    trained, encoder = built(fusion=fusion), encoders.build(replaced(SMALL, fusion=fusion)).eval()
    norm = "encoder_norm." if fusion else "norm."
    state = {re.sub(r"^norm\.", norm, name): value for name, value in trained.state_dict().items()}
    others = ["mask_token", "decoder_embed.weight"] if fusion else ["head.projection.weight"]
    torch.save({"model_state": state | dict.fromkeys(others, torch.zeros(2))}, tmp_path / "w.pth")
    loaded = load_weights(encoder, tmp_path / "w.pth")
    assert loaded.project == ("hiera_mae" if fusion else "hiera")
    assert loaded.tensors == len(state)
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(encoder(x).tokens, trained(x).tokens)


def test_clips_are_taken_by_the_same_network():
    fed = Frames(side=16, frames=4, rate=4.0)
    config = HieraVideoConfig(
        input=fed, patch=2, width=8, heads=1, depths=(1, 1, 1), pools=1, fusion=True
    )
    encoder = built(config)
    assert (encoder.grid, encoder.patch, encoder.unit) == ((2, 4, 4), (2, 4, 4), (1, 2, 2))
    hidden = torch.ones(1, 2, 4, 4, dtype=torch.bool)
    hidden[:, 0, :2, 2:] = False  # one unit of the first two frames
    found = encoder(torch.randn(1, *fed.shape), keep=visible(hidden.flatten(1)))
    assert found.tokens.shape == (1, 4, 32)
