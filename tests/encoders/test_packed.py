"""Several resolutions in one pass give what separate passes give."""

import pytest
import timm
import torch
from timm.layers import drop
from timm.models.vision_transformer import VisionTransformer

from manyviews import encoders
from manyviews.encoders import EncoderConfig, packed, vit
from manyviews.encoders.vit import ViT
from manyviews.parts.crops import encode_crops

CONFIG = {"name": "vit", "image_size": 16, "patch": 4, "width": 16, "depth": 3, "heads": 2}
SIZES = ((4, 16), (6, 8), (2, 12))


def build(**changes):
    torch.manual_seed(0)
    made = encoders.build(EncoderConfig(**CONFIG | changes))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.train()


def images():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, 3, side, side, generator=generator) for n, side in SIZES]


def gradients(module, outputs):
    module.zero_grad()
    sum((x**2).mean() + (x**3).mean() for x in outputs).backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def passes(monkeypatch):
    """Count calls of `through`."""
    seen = []

    def counted(blocks, sequences, **kwargs):
        seen.append(len(sequences))
        return packed.through(blocks, sequences, **kwargs)

    monkeypatch.setattr(vit, "through", counted)
    return seen


def whole(**changes):
    """Blocks with everything that timm's can have."""
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=16,
        patch_size=4,
        embed_dim=16,
        depth=2,
        num_heads=2,
        num_classes=0,
        dynamic_img_size=True,
        init_values=0.5,
        qk_norm=True,
        reg_tokens=2,
        **changes,
    )
    return ViT(model).train()


def assert_same(module, mine, theirs):
    """The same values, and gradients of all parameters."""
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    mine, theirs = gradients(module, mine), gradients(module, theirs)
    assert mine.keys() == theirs.keys()
    for name, gradient in mine.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
@pytest.mark.parametrize(
    "make", [build, lambda: build(pool="mean"), whole], ids=["cls", "mean", "whole"]
)
def test_pooled_is_what_separate_calls_give_and_so_are_gradients(make, monkeypatch, apart):
    encoder, x, seen = make(), images(), passes(monkeypatch)
    if apart:
        monkeypatch.setattr(vit, "PACKED", 0)
    assert_same(encoder, encoder.pooled(x), [encoder(one).pooled for one in x])
    assert seen == ([1, 1, 1] if apart else [3])


@pytest.mark.parametrize("make", [build, whole], ids=["plain", "whole"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("first_only", [False, True])
def test_packed_sequences_are_what_the_blocks_give(make, count, first_only):
    encoder = make()
    blocks = encoder.model.blocks
    sequences = [encoder.embed(x).detach() for x in images()[:count]]
    wanted = [blocks(x)[:, :1] if first_only else blocks(x) for x in sequences]
    assert_same(blocks, packed.through(blocks, sequences, first_only=first_only), wanted)


def test_the_last_block_makes_only_the_class_token():
    encoder, seen = build(), []
    for block in encoder.model.blocks:
        block.mlp.register_forward_hook(lambda _m, args, _out: seen.append(args[0].shape[0]))
    x = torch.randn(2, 3, 16, 16)
    encoder.pooled([x])
    assert seen == [2 * 17, 2 * 17, 2]


def test_one_size_is_not_copied_to_be_joined():
    encoder = build()
    with torch.profiler.profile() as profile:
        packed.through(encoder.model.blocks, [torch.randn(2, 5, 16)])
    assert "aten::cat" not in {event.name for event in profile.events()}


def test_under_autocast_packed_equals_separate_within_bf16():
    encoder, x = build(), images()
    with torch.autocast("cpu", torch.bfloat16):
        together, apart = encoder.pooled(x), [encoder(one).pooled for one in x]
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a.float(), b.float(), rtol=0.05, atol=0.05)


def test_images_do_not_see_one_another():
    encoder, x = build(), images()
    before = encoder.pooled(x)
    x[1] = x[1].clone()
    x[1][0] += 1
    after = encoder.pooled(x)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1][1:], after[1][1:])
    assert not torch.equal(before[1][0], after[1][0])


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_stochastic_depth_gives_each_sample_its_own_draw(monkeypatch, pool):
    """With masks that depend on the module and the number of samples both ways are one."""
    masks = {}

    def forward(self, x):
        if not self.training or not self.drop_prob:
            return x
        generator = torch.Generator().manual_seed(len(x))
        mask = masks.setdefault(
            (id(self), len(x)), torch.rand(len(x), generator=generator).ge(self.drop_prob).float()
        )
        return x * mask.view(-1, *[1] * (x.ndim - 1)) / (1 - self.drop_prob)

    monkeypatch.setattr(drop.DropPath, "forward", forward)
    encoder, x = build(drop_path=0.5, pool=pool), images()
    together, apart = encoder.pooled(x), [encoder(one).pooled for one in x]
    assert any(0 < mask.mean() < 1 for mask in masks.values())
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_stochastic_depth_drops_at_its_rate_and_only_in_train_mode():
    encoder = build(drop_path=0.5, depth=2)  # rates 0 and 0.5
    with torch.no_grad():
        block = encoder.model.blocks[1]
        x = torch.randn(400, 3, 16), torch.randn(400, 2, 16)
        torch.manual_seed(2)
        out = packed.through([block], x)
        moved = [(after != before).any(dim=2) for after, before in zip(out, x, strict=True)]
        for tokens in moved:  # all tokens of a sample alike: both branches dropped, a quarter
            assert (tokens.all(dim=1) | ~tokens.any(dim=1)).all()
            assert tokens[:, 0].float().mean() == pytest.approx(0.75, abs=0.07)
        block.eval()
        torch.testing.assert_close(packed.through([block], x)[0], block(x[0]))


def test_crops_are_packed_where_that_pays(monkeypatch):
    encoder, seen = build(), passes(monkeypatch)
    views = {"global": torch.randn(2, 2, 3, 16, 16), "local": torch.randn(2, 4, 3, 8, 8)}
    packed_way = encode_crops(encoder, views)
    assert seen == [2]
    monkeypatch.setattr(vit, "PACKED", 0)
    torch.testing.assert_close(packed_way, encode_crops(encoder, views), rtol=1e-4, atol=1e-5)
    assert seen == [2, 1, 1], "a CPU with many tokens makes separate passes"


@pytest.mark.parametrize(
    "make",
    [
        lambda: whole(block_fn=timm.models.vision_transformer.ParallelScalingBlock, qkv_bias=True),
        lambda: encoders.build(EncoderConfig(name="resnet_small", image_size=16)).eval(),
    ],
    ids=["another block", "a convnet"],
)
def test_what_cannot_be_packed_takes_one_pass_a_resolution(make, monkeypatch):
    encoder, x, seen = make(), images(), passes(monkeypatch)
    for a, b in zip(encoder.pooled(x), [encoder(one).pooled for one in x], strict=True):
        torch.testing.assert_close(a, b)
    assert seen == []
