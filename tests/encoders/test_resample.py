"""Position tables at other sizes, held against the authors' own functions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed

from manyviews import encoders
from manyviews.core.inputs import Pixels
from manyviews.encoders import ViTConfig
from manyviews.encoders.official import OFFICIAL
from manyviews.encoders.resample import resample
from manyviews.encoders.vit import ViT

DATA = dict(np.load(Path(__file__).parents[1] / "reference" / "data" / "positions.npz"))
TABLE = torch.from_numpy(DATA.pop("table"))
VIT = ViTConfig(input=Pixels(side=16), patch=4, width=24, depth=1, heads=2)


@pytest.mark.parametrize("name", DATA)
def test_every_rule_is_its_authors(name):
    rule, _, size = name.partition(".")
    rows, columns = map(int, size.split("x"))
    made = resample(
        TABLE,
        (rows, columns),
        old=(4, 4),
        prefix=1,
        rule=rule.removesuffix("_registers"),
        registers=rule.endswith("_registers"),
    )
    assert torch.allclose(made, torch.from_numpy(DATA[name]), atol=1e-6, rtol=0)


def test_the_rules_are_not_the_same():
    made = [resample(TABLE, (2, 2), old=(4, 4), prefix=1, rule=r) for r in ("timm", "dino", "mae")]
    gaps = [float((a - b).abs().max()) for a, b in zip(made, made[1:] + made[:1], strict=True)]
    assert min(gaps) > 0.01


@pytest.mark.parametrize("grid", [(2, 2), (3, 5), (4, 4)])
@pytest.mark.parametrize("prefix", [0, 1])
def test_timms_rule_is_timms(grid, prefix):
    table = torch.randn(1, prefix + 16, 6, generator=torch.Generator().manual_seed(0))
    wanted = resample_abs_pos_embed(table, list(grid), [4, 4], num_prefix_tokens=prefix)
    assert torch.equal(resample(table, grid, old=(4, 4), prefix=prefix, rule="timm"), wanted)


@pytest.mark.parametrize(
    ("project", "rule"),
    [
        ("dino", "dino"),
        ("ibot", "dino"),
        ("dinov2", "dinov2"),
        ("huggingface_dinov2", "dinov2"),
        ("mae", "mae"),
        ("msn", "mae"),
        ("ijepa", "mae"),
        ("beit", "timm"),
        ("huggingface", "timm"),
    ],
)
def test_every_projects_weights_come_with_its_rule(project, rule):
    assert OFFICIAL[project].interpolation == rule


@pytest.mark.parametrize("registers", [0, 4])
def test_dinov2s_rule_looks_at_the_registers_of_the_network(registers):
    model = timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, img_size=32, patch_size=8, embed_dim=24, depth=1,
        num_heads=2, dynamic_img_size=True, reg_tokens=registers, no_embed_class=True,
    )  # fmt: skip
    with torch.no_grad():
        model.pos_embed.copy_(TABLE[:, 1:, :1] * torch.linspace(1, 2, 24))
    vit, x = ViT(model, interpolation="dinov2").eval(), torch.zeros(1, 3, 24, 24)
    rule = "timm" if registers else "dino"
    wanted = resample(model.pos_embed, (3, 3), old=(4, 4), prefix=0, rule=rule)
    bare = model.patch_embed(x).flatten(1, 2)
    assert torch.allclose(vit.embed(x)[:, 1 + registers :], bare + wanted, atol=1e-6)


def test_a_vit_uses_its_rule_for_other_sizes_alone():
    torch.manual_seed(0)
    timms = encoders.build(VIT).eval()
    dino = ViT(timms.model, interpolation="dino").eval()
    same, other = torch.randn(1, 3, 16, 16), torch.randn(1, 3, 8, 12)
    assert torch.equal(timms(same).tokens, dino(same).tokens)
    wanted = resample(timms.model.pos_embed, (2, 3), old=(4, 4), prefix=1, rule="dino")
    bare = torch.cat([timms.model.cls_token, timms.model.patch_embed(other).flatten(1, 2)], dim=1)
    assert torch.equal(dino.embed(other), bare + wanted)
    assert not torch.allclose(timms(other).tokens, dino(other).tokens, atol=1e-3)


def test_the_class_tokens_deviation_is_given_or_left():
    torch.manual_seed(0)
    model = encoders.build(replace(VIT, width=192)).model
    state = torch.get_rng_state()
    ViT(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.cls_token.std() < 1e-4
    ViT(model, class_token=0.02)
    assert 0.017 < model.cls_token.std() < 0.023
