from dataclasses import replace

import pytest
import timm
import torch

from manyviews import encoders
from manyviews.core import Hide, Unsupported
from manyviews.core.inputs import Pixels
from manyviews.core.positions import sincos
from manyviews.encoders import ResNetSmallConfig, ViTConfig
from manyviews.encoders.vit import attention

CONFIG = ViTConfig(input=Pixels(side=16), patch=4, width=16, depth=2, heads=2)
REGISTERS = ViTConfig(
    name="vit_small_patch14_reg4_dinov2", input=Pixels(side=28), width=16, depth=2, heads=2
)
N, D = 16, 16


@pytest.fixture(params=["cls", "mean", "registers"])
def encoder(request):
    torch.manual_seed(0)
    if request.param == "registers":
        made = encoders.build(REGISTERS)
    else:
        made = encoders.build(replace(CONFIG, pool=request.param))
    with torch.no_grad():
        made.model.cls_token.normal_()
        made.model.pos_embed.normal_()
    return made.eval()


def images(encoder, count=3):
    side = encoder.model.patch_embed.img_size[0]
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def same(a, b):
    return torch.allclose(a, b, atol=1e-5)


def test_keeping_all_tokens_in_order_changes_nothing(encoder):
    x = images(encoder)
    everything = torch.arange(encoder.num_tokens).expand(3, -1)
    kept, plain = encoder(x, keep=everything), encoder(x)
    assert torch.equal(kept.tokens, plain.tokens)
    assert torch.equal(kept.pooled, plain.pooled)


def test_kept_tokens_come_in_the_order_asked_for(encoder):
    x = images(encoder)
    keep = torch.stack([torch.randperm(encoder.num_tokens)[:3] for _ in range(3)])
    turned = torch.tensor([2, 0, 1])
    first, second = encoder(x, keep=keep), encoder(x, keep=keep[:, turned])
    assert first.tokens.shape == (3, 3, encoder.dim)
    assert same(first.tokens[:, turned], second.tokens)
    assert same(first.pooled, second.pooled)
    assert not same(first.tokens, second.tokens)


def test_what_is_not_kept_has_no_influence_and_what_is_has(encoder):
    x = images(encoder).requires_grad_()
    keep = torch.tensor([[1], [2], [3]])
    encoder(x, keep=keep).pooled.square().sum().backward()
    patch = encoder.model.patch_embed.patch_size[0]
    touched = x.grad.abs().sum(1).unfold(1, patch, patch).unfold(2, patch, patch).sum((3, 4))
    assert torch.equal(touched.flatten(1) > 0, torch.eye(encoder.num_tokens).bool()[keep[:, 0]])


def test_hidden_patches_are_replaced_exactly(encoder):
    """An image whose patch embeds to the mask token gives what hiding that patch gives."""
    x = images(encoder)
    other = images(encoder, 6)[3:]
    patch = encoder.model.patch_embed.patch_size[0]
    where = torch.zeros(3, encoder.num_tokens, dtype=torch.bool)
    where[:, 1] = True
    for i in range(3):
        pasted = x[i : i + 1].clone()
        pasted[:, :, :patch, patch : 2 * patch] = other[i, :, :patch, patch : 2 * patch]
        token = encoder.model.patch_embed(other[i : i + 1]).flatten(1, 2)[0, 1]
        hidden = encoder(x[i : i + 1], hide=Hide(where[i : i + 1], token))
        assert same(hidden.tokens, encoder(pasted).tokens)
        assert not same(hidden.tokens, encoder(x[i : i + 1]).tokens)


def test_hiding_nothing_changes_nothing_and_the_token_gets_gradient(encoder):
    x = images(encoder)
    token = torch.randn(encoder.dim, requires_grad=True)
    where = torch.zeros(3, encoder.num_tokens, dtype=torch.bool)
    assert torch.equal(encoder(x, hide=Hide(where, token)).tokens, encoder(x).tokens)
    where[0, 0] = True
    encoder(x, hide=Hide(where, token)).pooled.square().sum().backward()
    assert token.grad.any()


def test_hidden_holds_the_last_blocks(encoder):
    x = images(encoder)
    both, last = encoder(x, blocks=2), encoder(x, blocks=1)
    assert len(both.hidden) == 2
    assert torch.equal(both.hidden[1], last.hidden[0])
    assert torch.equal(encoder.model.norm(last.hidden[0]), last.tokens)
    theirs = encoder.model.forward_intermediates(x, 2, output_fmt="NLC", intermediates_only=True)
    assert all(map(torch.equal, both.hidden, theirs))
    with pytest.raises(Unsupported, match="3 blocks were asked of a ViT that has 2"):
        encoder(x, blocks=3)


def test_other_sizes_interpolate_positions_as_timm_does(encoder):
    patch = encoder.model.patch_embed.patch_size[0]
    x = torch.randn(2, 3, 3 * patch, 5 * patch)
    features = encoder(x)
    assert features.tokens.shape == (2, 15, encoder.dim)
    assert torch.equal(features.pooled, encoder.model(x))
    with pytest.raises(Unsupported, match=f"patch {patch} cannot take images of"):
        encoder(torch.randn(2, 3, 3 * patch + 1, 3 * patch))


def test_the_class_token_is_returned_whatever_is_pooled(encoder):
    x = images(encoder)
    assert torch.equal(encoder(x).class_token, encoder.model.forward_features(x)[:, 0])


def test_attention_is_what_the_last_block_uses(encoder):
    x = images(encoder)
    seen = []
    layer = encoder.model.blocks[-1].attn
    layer.fused_attn = False
    layer.attn_drop.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    encoder(x)
    ours = attention(encoder, x)
    assert ours.shape == (3, 2, encoder.num_tokens)
    assert same(ours, seen[0][:, :, 0, encoder.model.num_prefix_tokens :])
    assert not ours.requires_grad


def test_attention_needs_a_class_token():
    resnet = encoders.build(ResNetSmallConfig(input=Pixels(side=16)))
    with pytest.raises(Unsupported, match="Only a ViT"):
        attention(resnet, torch.zeros(1, 3, 16, 16))


def test_fixed_positions_are_the_table_and_stay():
    encoder = encoders.build(replace(CONFIG, positions="sincos"))
    table = encoder.model.pos_embed
    assert torch.equal(table[0, 1:], sincos(D, (4, 4)))
    assert not table[0, 0].any()
    assert not table.requires_grad
    assert "pos_embed" in encoder.model.state_dict()


def test_gradients_flow_through_drop_path_only_in_training():
    encoder = encoders.build(replace(CONFIG, drop_path=0.5))
    x = images(encoder, 8)
    assert torch.equal(encoder.eval()(x).pooled, encoder(x).pooled)
    encoder.train()
    assert not torch.equal(encoder(x).pooled, encoder(x).pooled)


def test_the_network_is_the_one_that_timm_would_build():
    ours = encoders.build(ViTConfig(name="test_vit", input=Pixels(side=32))).model
    theirs = timm.create_model("test_vit", num_classes=0, img_size=32)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_bf16_autocast_keeps_working_with_hidden_tokens():
    encoder = encoders.build(CONFIG)
    hide = Hide(torch.ones(2, N, dtype=torch.bool), torch.zeros(D, requires_grad=True))
    with torch.autocast("cpu", torch.bfloat16):
        features = encoder(images(encoder, 2), hide=hide, blocks=1)
    assert features.tokens.isfinite().all()
