"""Which parameters learn at which rate, and when an encoder stands still."""

import pytest
import torch
from torch import nn

from manyviews import encoders
from manyviews.core import Clock, UsageError
from manyviews.core.inputs import Frames, LogMel, Pixels, Points
from manyviews.encoders import ResNetSmallConfig, TimmConfig, ViTConfig
from manyviews.encoders.audio import AudioConvConfig
from manyviews.encoders.points import PointNetConfig
from manyviews.encoders.settings import TubeletsConfig
from manyviews.encoders.slow import SlowConfig
from manyviews.encoders.video import R2Plus1DConfig
from manyviews.encoders.voxels import VoxelsConfig
from manyviews.methods.catalog import build as method_of
from manyviews.methods.contrastive.simclr import SimCLRConfig
from manyviews.methods.distillation.byol import BYOLConfig
from manyviews.training.freeze import Frozen
from manyviews.training.optim import build
from manyviews.training.settings import Optim
from tiny import TinyConv, given

SIZES = Pixels(side=16)
# name of a parameter -> blocks between it and the heads, the block itself counted
DEPTHS = {
    "vit": (
        ViTConfig(input=SIZES, patch=8, width=16, depth=3, heads=2),
        {
            "model.cls_token": 4,
            "model.pos_embed": 4,
            "model.patch_embed.proj.weight": 4,
            "model.blocks.0.attn.qkv.weight": 3,
            "model.blocks.0.norm1.bias": 3,
            "model.blocks.2.mlp.fc2.weight": 1,
            "model.norm.weight": 0,
        },
    ),
    "resnet_small": (
        ResNetSmallConfig(input=SIZES, width=8, depth=2),
        {
            "stem.0.weight": 7,
            "stem.1.bias": 7,
            "stages.0.0.conv1.weight": 6,
            "stages.1.0.shortcut.0.weight": 4,
            "stages.2.1.norm2.weight": 1,
        },
    ),
    "timm": (
        TimmConfig(name="test_resnet", input=Pixels(side=32)),
        {
            "model.conv1.0.weight": 5,
            "model.bn1.weight": 5,
            "model.layer1.0.conv1.weight": 4,
            "model.layer3.0.downsample.2.bias": 2,
            "model.layer4.0.bn2.weight": 1,
        },
    ),
    "timm with a norm at its end": (
        TimmConfig(name="test_convnext", input=Pixels(side=32)),
        {"model.stem.0.weight": 10, "model.stages.0.blocks.0.conv_dw.weight": 9,
         "model.head.norm.weight": 0},
    ),
    "r2plus1d": (
        R2Plus1DConfig(input=Frames(side=32, frames=2, rate=8.0), width=8, depth=1),
        {"stem.0.weight": 5, "stages.0.0.convolutions.0.weight": 4, "stages.3.0.finish.0.bias": 1},
    ),
    "slow": (
        SlowConfig(input=Frames(side=32, frames=2, rate=8.0), layers=10, width=8),
        {"stem.0.weight": 5, "stages.0.0.convolutions.0.weight": 4, "stages.3.0.shortcut.1.bias": 1}
    ),
    "tubelets": (
        TubeletsConfig(input=Frames(side=16, frames=2), patch=8, width=16, depth=2, heads=2),
        {"patch_embed.proj.weight": 3, "blocks.0.attn.qkv.weight": 2, "norm.weight": 0},
    ),
    "audio_conv": (
        AudioConvConfig(input=LogMel(), width=8, depth=1),
        {"layers.0.weight": 5, "layers.1.weight": 5, "layers.3.weight": 4, "layers.13.bias": 1},
    ),
    "pointnet": (
        PointNetConfig(input=Points(count=32), centres=(16, 6, 2), width=4, up=1, up_width=8),
        {"down.0.0.weight": 4, "down.2.7.bias": 2, "back.0.0.weight": 1},
    ),
    "voxels": (
        VoxelsConfig(input=Points(count=32), side=8, width=4, depth=2),
        {"stem.0.weight": 6, "down.1.0.weight": 4, "up.1.weight": 3, "merge.0.1.bias": 2,
         "last.0.weight": 1},
    ),
}  # fmt: skip


def rates(updates, module, clock):
    """Name of a parameter -> the learning rate of its group."""
    updates.set_rates(clock)
    names = {id(p): name for name, p in module.named_parameters()}
    groups = updates.optimizer.param_groups
    return {names[id(p)]: group["lr"] for group in groups for p in group["params"]}


@pytest.mark.parametrize("case", DEPTHS)
def test_each_block_learns_at_a_share_of_the_next_ones_rate(case):
    config, depths = DEPTHS[case]
    method = method_of(SimCLRConfig(hidden=8, out=4), given(encoders.build(config)))
    optim = Optim(name="adamw", lr=1.0, lr_per=0, layer_decay=0.5)
    found = rates(build(method, optim, 8), method, Clock(0, 10))
    inside = {name.removeprefix("backbone."): lr for name, lr in found.items()}
    assert {name: inside[name] for name in depths} == {n: 0.5**k for n, k in depths.items()}
    assert {lr for name, lr in found.items() if name.startswith("projector")} == {1.0}
    assert len(found) == sum(p.requires_grad for p in method.parameters())
    plain = build(method, Optim(name="adamw", lr=1.0, lr_per=0), 8)
    assert set(rates(plain, method, Clock(0, 10)).values()) == {1.0}


def test_an_encoder_without_layers_is_refused_by_name():
    class Flat(TinyConv):
        def by_depth(self):
            return []

    method = method_of(SimCLRConfig(hidden=8, out=4), given(Flat()))
    with pytest.raises(UsageError, match=r"Flat does not say.*--optim.layer-decay 1"):
        build(method, Optim(layer_decay=0.9), 8)


@pytest.mark.parametrize(
    ("until", "last"),
    [(0.3, 2), (3.0, 2), (1.0, 0), (0.0, -1)],
    ids=["share", "steps", "one", "off"],
)
def test_an_encoder_stands_still_for_a_share_or_a_number_of_steps(until, last):
    method = method_of(BYOLConfig(hidden=8, out=4), given(TinyConv())).train()
    frozen = Frozen(method, until)
    inside = [*method.online.encoder.modules(), *method.target.copy.encoder.modules()]
    modes = {module: module.training for module in method.modules()}
    for step in range(10):
        frozen.set_mode(Clock(step, 10))
        assert {module.training for module in inside} == {step > last}
        assert method.predictor.training
        for p in method.parameters():
            p.grad = torch.ones_like(p) if p.requires_grad else None
        frozen.drop(Clock(step, 10))
        grads = [p.grad is None for p in method.online.encoder.parameters()]
        assert all(grads) if step <= last else not any(grads)
        assert all(p.grad is not None for p in method.predictor.parameters())
    assert modes == {module: module.training for module in method.modules()}


def test_a_part_that_was_in_evaluation_mode_stays_so_after_the_thaw():
    method = method_of(SimCLRConfig(hidden=8, out=4), given(TinyConv())).train()
    norm = next(m for m in method.backbone.modules() if "Norm" in type(m).__name__)
    assert isinstance(norm, nn.Module)
    norm.eval()
    frozen = Frozen(method, 1.0)
    for step in range(3):
        frozen.set_mode(Clock(step, 3))
    assert not norm.training
    assert method.backbone.training
