"""One contract for every kind of encoder, as timm tests every model."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import timm
import torch

from manyviews import encoders
from manyviews.core import Hide, Unsupported, UsageError, settings
from manyviews.core.inputs import Pixels
from manyviews.encoders import ImageConfig, ResNetSmallConfig, TimmConfig, ViTConfig
from manyviews.encoders.vit import ViT
from manyviews.parts import norm


def fed(side: int, channels: int = 3) -> Pixels:
    return Pixels(side=side, channels=channels, mean=(0.5,), std=(0.25,))


TINY = {"patch": 4, "width": 16, "depth": 2, "heads": 2}

CASES = {
    "resnet_small": ResNetSmallConfig(input=fed(16, 1), width=8),
    "resnet_small deep": ResNetSmallConfig(input=fed(12), width=4, depth=2, stem="small"),
    "resnet_small grid": ResNetSmallConfig(input=fed(32), width=4, grid=4),
    "vit": ViTConfig(input=fed(16), **TINY),
    "vit mae": ViTConfig(input=fed(16, 1), positions="sincos", pool="mean", **TINY),
    "timm vit": ViTConfig(name="test_vit", input=fed(32)),
    "vit with registers": ViTConfig(
        name="vit_small_patch14_reg4_dinov2", input=fed(28), width=16, depth=1, heads=2
    ),
    "vit with a first norm": ViTConfig(name="vit_base_patch32_clip_224", input=fed(16), **TINY),
    "vit with drop path": ViTConfig(input=fed(16), drop_path=0.1, **TINY),
    "resnet18": TimmConfig(name="resnet18", input=fed(64)),
    "resnet18 small stem": TimmConfig(
        name="resnet18", input=fed(16, 1), stem="small", zero_init=False
    ),
    "convnext": TimmConfig(name="convnext_atto", input=fed(32)),
    "mobilenet with a wider head": TimmConfig(name="mobilenetv3_small_050", input=fed(64)),
    "swin, channels last": TimmConfig(name="swin_tiny_patch4_window7_224", input=fed(56)),
    "mixer, no class token": TimmConfig(name="mixer_s32_224", input=fed(64)),
    "deit, two class tokens": TimmConfig(name="deit_tiny_distilled_patch16_224", input=fed(32)),
}


def images(config: ImageConfig, count: int = 4, side: int = 0) -> torch.Tensor:
    shape = replace(config.input, side=side or config.input.side).shape
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


def build(config: ImageConfig):
    torch.manual_seed(0)
    encoder = encoders.build(config)
    if isinstance(encoder, ViT):  # a fresh class token is nearly zero, and hides what it does
        with torch.no_grad():
            for parameter in (encoder.model.cls_token, encoder.model.reg_token):
                if parameter is not None:
                    parameter.normal_()
    return encoder


@pytest.fixture(scope="module", params=list(CASES))
def case(request):
    config = CASES[request.param]
    return config, build(config).eval()


def test_shapes_are_as_declared(case):
    config, encoder = case
    with torch.no_grad():
        features = encoder(images(config))
    assert features.pooled.shape == (4, encoder.dim)
    width = encoder.dim // getattr(config, "grid", 1) ** 2
    assert features.tokens.shape == (4, encoder.num_tokens, width)
    assert features.hidden == ()
    assert features.pooled.isfinite().all()


def test_every_parameter_gets_a_gradient_from_pooled(case):
    config, _ = case
    encoder = build(CASES["vit"] if getattr(config, "drop_path", 0) else config)
    encoder.eval()  # batch norm over few samples would cancel gradients that are there
    pooled = encoder(images(config)).pooled
    (pooled * torch.randn_like(pooled)).sum().backward()
    trainable = {n: p for n, p in encoder.named_parameters() if p.requires_grad}
    missing = [n for n, p in trainable.items() if p.grad is None]
    assert not missing
    zero = {n for n, p in trainable.items() if not p.grad.any()}
    if (
        getattr(config, "zero_init", False) and "resnet" in config.name
    ):  # what a zero scale hides, and only that
        zero = {n for n in zero if not any(part in n for part in ("conv", "bn1", "norm1"))}
    # Swin's last map is one token here, and a softmax over one token has no gradient.
    assert not {n for n in zero if not n.endswith("relative_position_bias_table")}


def test_pooled_and_tokens_are_those_of_timm_bit_for_bit(case):
    config, encoder = case
    model = getattr(encoder, "model", None)
    if model is None:
        pytest.skip("our own network")
    x = images(config)
    with torch.no_grad():
        theirs = model.forward_features(x)
        pooled = model.forward_head(theirs, pre_logits=True)
        ours = encoder(x)
    assert torch.equal(ours.pooled, pooled)
    assert torch.equal(ours.pooled, model(x))
    if isinstance(encoder, ViT):
        assert torch.equal(ours.tokens, theirs[:, model.num_prefix_tokens :])
    elif "resnet" in config.name:
        assert torch.equal(ours.tokens, theirs.flatten(2).transpose(1, 2))
        assert torch.allclose(ours.tokens.mean(1), pooled, atol=1e-6)


def test_tokens_lie_in_rows(case):
    """The image's top right corner moves the top right token more than the bottom left one."""
    config, encoder = case
    side = round(encoder.num_tokens**0.5)
    if side < 2:
        pytest.skip("one token")
    assert encoder.grid in ((side, side), (side * side,))
    x = images(config, 1)
    corner = x.clone()
    part = config.input.side // side
    corner[:, :, :part, -part:] += 3
    with torch.no_grad():
        moved = (encoder(corner).tokens - encoder(x).tokens).norm(dim=2)[0]
    assert moved[side - 1] > 1.02 * moved[side * (side - 1)]


def test_training_mode_is_left_as_it_was():
    encoder = encoders.build(CASES["resnet18"])
    assert all(module.training for module in encoder.modules())
    assert encoder.model.bn1.num_batches_tracked == 0


@pytest.mark.parametrize("name", ["resnet18", "mobilenet with a wider head"])
def test_batch_norm_can_be_shared_over_ranks_afterwards(name):
    config = CASES[name]
    encoder = build(config).eval()
    x = images(config)
    with torch.no_grad():
        before = encoder(x).pooled
        keys = list(encoder.state_dict())
        norm.convert(encoder)
        assert torch.allclose(encoder(x).pooled, before, atol=1e-6)
    assert list(encoder.state_dict()) == keys


@pytest.mark.parametrize(
    ("name", "side"),
    [("resnet_small", 10), ("resnet_small grid", 16), ("resnet18", 32), ("convnext", 64)],
)
def test_convolutional_encoders_take_other_sizes(name, side):
    config = CASES[name]
    encoder = build(config).eval()
    assert encoder(images(config, side=side)).pooled.shape == (4, encoder.dim)


def test_a_model_of_one_size_says_so():
    config = CASES["swin, channels last"]
    with pytest.raises(Unsupported, match="takes only 56-pixel images and got 28x28"):
        encoders.build(config)(images(config, side=28))


@pytest.mark.parametrize("name", ["resnet_small", "convnext"])
@pytest.mark.parametrize("ask", ["keep", "hide", "blocks"])
def test_convolutional_encoders_have_no_tokens_to_drop(name, ask):
    config = CASES[name]
    encoder = encoders.build(config)
    what = {
        "keep": torch.zeros(4, 1, dtype=torch.int64),
        "hide": Hide(torch.zeros(4, 4, dtype=torch.bool), torch.zeros(encoder.dim)),
        "blocks": 1,
    }
    with pytest.raises(Unsupported, match=r"no tokens to keep or hide\. Set --encoder.name vit"):
        encoder(images(config), **{ask: what[ask]})


def test_the_same_seed_gives_the_same_weights():
    first, second = build(CASES["resnet_small"]), build(CASES["resnet_small"])
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


@pytest.mark.parametrize("name", ["resnet_small", "resnet18"])
def test_zero_init_silences_the_branches_and_nothing_else(name):
    config = encoders.named(name, input=fed(32))
    zeroed = encoders.build(config).state_dict()
    whole = encoders.build(replace(config, zero_init=False)).state_dict()
    silent = {k for k, v in zeroed.items() if k.endswith("weight") and not v.any()}
    assert silent
    assert all(k.endswith(("norm2.weight", "bn2.weight")) for k in silent)
    assert all(whole[k].all() for k in silent)


def test_the_small_stem_keeps_the_resolution():
    encoder = encoders.build(TimmConfig(name="resnet18", input=fed(32), stem="small"))
    assert encoder.num_tokens == 4 * 4
    assert encoder.model.conv1.stride == (1, 1)
    assert encoder.model.conv1.padding == (1, 1)


def test_resnet_small_costs_what_its_description_says():
    from torch.utils.flop_counter import FlopCounterMode

    encoder = encoders.build(ResNetSmallConfig(input=fed(28, 1)))
    with FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(1, 1, 28, 28))
    assert 9e6 < counter.get_total_flops() / 2 < 11e6


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TimmConfig(name="resnet19"), "no encoder 'resnet19'. Did you mean resnet1"),
        (TimmConfig(name="resnet18.a1_in1k"), "Did you mean resnet18?"),
        (TimmConfig(name="hf-hub:timm/resnet18"), "There is no encoder 'hf-hub:timm/resnet18'"),
        (TimmConfig(name="local-dir:/tmp"), "There is no encoder"),
        (TimmConfig(name="resnet18", input=fed(0)), "--encoder.input.side is 0; wanted from 1 to"),
        (ViTConfig(input=fed(8193)), "--encoder.input.side is 8193; wanted from 1 to 8192"),
        (TimmConfig(input=fed(16, 1025)), "--encoder.input.channels is 1025; wanted from 1 to"),
        (ViTConfig(patch=1025), "--encoder.patch is 1025; wanted from 0 to 1024"),
        (ViTConfig(width=16385), "--encoder.width is 16385; wanted from 0 to 16384"),
        (ViTConfig(depth=-1), "--encoder.depth is -1; wanted from 0 to 1024"),
        (ViTConfig(heads=1025), "--encoder.heads is 1025; wanted from 0 to 1024"),
        (ResNetSmallConfig(grid=17), "--encoder.grid is 17; wanted from 1 to 16"),
        (TimmConfig(drop_path=1.0), "--encoder.drop-path is 1.0; wanted from 0 to 0.99"),
        (ViTConfig(input=fed(30), patch=4), "30 pixels .* patches of 4"),
        (ViTConfig(width=33, heads=2), "width of 33 .* 2 heads"),
        (TimmConfig(name="convnext_atto", input=fed(16)), "cannot take 16-pixel images"),
        (TimmConfig(name="convnext_atto", input=fed(32), stem="small"), "for ResNets"),
        (TimmConfig(name="vgg11", input=fed(32), drop_path=0.1), "cannot build"),
        (
            ViTConfig(name="vit_base_patch16_siglip_gap_224", input=fed(16), width=8, heads=1),
            "--encoder.pool mean if it has no class token",
        ),
        (TimmConfig(name="crossvit_tiny_240", input=fed(240)), "no feature map"),
    ],
)
def test_a_wrong_configuration_is_one_line_of_advice(config, message):
    with pytest.raises(UsageError, match=message) as caught:
        encoders.build(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        (TimmConfig(name="resnet18"), "width"),
        (TimmConfig(name="resnet18"), "grid"),
        (ResNetSmallConfig(), "drop_path"),
    ],
)
def test_a_setting_of_another_kind_of_encoder_is_refused(config, setting):
    with pytest.raises(UsageError, match=f"no setting '{setting}'"):
        settings.override(config, {setting: 3})


@pytest.mark.parametrize("name", list(CASES))
def test_an_encoder_knows_what_it_is_fed(name):
    config = CASES[name]
    encoder = build(config)
    assert encoder.input == config.input
    assert len(encoder.patch) in (0, len(encoder.grid))
    for places, patch in zip(encoder.grid, encoder.patch, strict=False):
        assert places == -(-config.input.side // patch)


def test_names_are_ours_and_all_of_timm():
    names = encoders.names()
    assert names[:2] == ["resnet_small", "vit"]
    assert set(timm.list_models()) < set(names)
    assert len(names) == len(set(names))


def test_every_kind_is_built_by_its_settings_and_has_a_name():
    names = {kind: entry.config().name for kind, entry in encoders.KINDS.items()}
    first = {"timm": "resnet18", "hiera": "hiera_tiny"}  # of kinds of several models
    assert names == {kind: kind for kind in encoders.KINDS} | first
    for entry in encoders.KINDS.values():
        config = entry.config()
        with torch.device("meta"):
            assert encoders.build(config).input == config.input
    with pytest.raises(UsageError, match=r"Pixels configures no encoder; use one of ResNetSmall"):
        encoders.build(fed(16))


def test_a_narrow_resnet_trains_without_writing_past_its_gradients():
    """In a process of its own: where it does, that dies of a corrupted heap."""
    script = (
        "import torch\n"
        "from manyviews.encoders.resnet_small import ResNetSmall\n"
        "net = ResNetSmall(image_size=28, channels=1, width=4)\n"
        "net = net.to(memory_format=torch.channels_last)\n"
        "for _ in range(15):\n"
        "    x = torch.randn(32, 1, 28, 28).to(memory_format=torch.channels_last)\n"
        "    net(x).pooled.square().sum().backward()\n"
    )
    run = [sys.executable, "-c", script]
    subprocess.run(run, check=True, env=os.environ | {"MALLOC_CHECK_": "3"}, timeout=120)


def test_a_narrow_shortcut_is_a_strided_convolution():
    from manyviews.encoders.resnet_small import _Pointwise

    narrow = _Pointwise(4, 8, 1, 2, bias=False)
    x = torch.randn(2, 4, 9, 9)
    expected = torch.nn.functional.conv2d(x, narrow.weight, stride=2)
    torch.testing.assert_close(narrow(x), expected)
