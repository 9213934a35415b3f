"""Weights under any wrapper: what is found, taken, left and told."""

import re
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from torch import nn

from layouts import RESNET, VIT, WRAPPERS, T, build, dino, other, prefixed
from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.positions import sincos
from manyviews.encoders import load_weights
from manyviews.encoders.official import OFFICIAL
from manyviews.encoders.resample import resample


@pytest.mark.parametrize("name", WRAPPERS)
def test_layouts_load_whole(tmp_path, name):
    config, project, wrap = WRAPPERS[name]
    trained, encoder = build(config, 1), build(config, 2)
    state = trained.model.state_dict()
    torch.save(wrap(state), tmp_path / "weights.pth")
    loaded = load_weights(encoder, tmp_path / "weights.pth")
    for key, value in state.items():
        assert torch.equal(encoder.model.state_dict()[key], value), key
    assert (loaded.tensors, loaded.project, loaded.resized) == (len(state), project, "")


def test_what_was_taken_and_left_is_told(tmp_path):
    torch.save(dino(build(VIT, 1).model.state_dict()), tmp_path / "weights.pth")
    lines = load_weights(build(VIT), tmp_path / "weights.pth").lines()
    assert lines[0] == "30 tensors taken, under 'teacher/backbone.', written by DINO."
    assert lines[1] == "Left out: student (30), teacher (1)."


def test_equal_names_with_other_values_are_told(tmp_path):
    state = build(VIT, 1).model.state_dict()
    torch.save({"a": state, "b": other(state)}, tmp_path / "weights.pth")
    encoder = build(VIT)
    note = load_weights(encoder, tmp_path / "weights.pth").notes[0]
    assert note == "The same names with other values are under 'b/'; those were not taken."
    assert torch.equal(encoder.model.norm.weight, state["norm.weight"])


def test_every_project_has_facts_that_can_be_used():
    for name, project in OFFICIAL.items():
        assert project.title, name
        assert "/" in project.source, name
        assert len(project.mean) == len(project.std), name
        assert len(project.mean) in (0, 3), name
        assert all(value > 0 for value in project.std), name
        assert not project.recognise({}), name


@pytest.mark.parametrize(
    ("project", "rule"), [("", "timm"), ("dino", "dino"), ("mae", "mae"), ("ibot", "dino")]
)
def test_positions_are_interpolated_as_their_project_does(tmp_path, project, rule):
    small, large = build(VIT, 1), build(replace(VIT, input=Pixels(side=32)), 2)
    safetensors.torch.save_file(small.model.state_dict(), tmp_path / "weights.safetensors")
    loaded = load_weights(large, tmp_path / "weights.safetensors", project=project)
    assert f"from 4x4 to 8x8 as {rule} does" in loaded.resized
    wanted = resample(small.model.pos_embed, (8, 8), old=(4, 4), prefix=1, rule=rule)
    assert torch.equal(large.model.pos_embed, wanted)
    assert large.interpolation == rule


def test_a_published_file_is_known_by_its_name_where_nothing_else_tells(tmp_path):
    torch.save(build(VIT, 1).model.state_dict(), tmp_path / "dino_deitsmall16_pretrain.pth")
    encoder = build(VIT)
    loaded = load_weights(encoder, tmp_path / "dino_deitsmall16_pretrain.pth")
    assert (loaded.project, encoder.interpolation) == ("dino", "dino")
    assert "Only its file name says that it is DINO's." in loaded.notes


@pytest.mark.parametrize("converted", [False, True])
def test_heads_that_shapes_cannot_show_are_held_against_the_project(tmp_path, converted):
    """MoCo v3's ViT-S has 12, timm's 6. Converted, only the fixed position table tells."""
    config = replace(VIT, width=384, depth=1, heads=12)
    trained = build(config, 1)
    table = sincos(384, (4, 4)).unflatten(0, (4, 4)).transpose(0, 1).flatten(0, 1)
    with torch.no_grad():
        trained.model.pos_embed.zero_()[0, 1:] = table
    state = trained.model.state_dict()
    if not converted:
        state = {"state_dict": prefixed(state, "module.base_encoder.")}
    torch.save({"model": state} if converted else state, tmp_path / "weights.pth")
    encoder = build(config)
    assert load_weights(encoder, tmp_path / "weights.pth").project == "mocov3"
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(encoder(x).pooled, trained(x).pooled)
    six = build(replace(config, heads=6))
    with pytest.raises(UsageError, match=r"MoCo v3 .* 384 with 12 .* has 6.*Set heads to 12"):
        load_weights(six, tmp_path / "weights.pth")


def test_heads_that_nothing_tells_are_told(tmp_path):
    torch.save(build(VIT, 1).model.state_dict(), tmp_path / "weights.pth")
    notes = load_weights(build(VIT), tmp_path / "weights.pth").notes
    assert notes == ("Nothing tells the number of heads; the encoder's 2 are taken.",)


def test_layer_scale_is_multiplied_into_an_encoder_that_has_none(tmp_path):
    """iBOT's `gamma_1`; the features are those of a network that has it."""
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
    theirs = VisionTransformer(**sizes, num_classes=0, init_values=0.5).eval()
    for block in theirs.blocks:
        nn.init.uniform_(block.ls1.gamma)
        nn.init.uniform_(block.ls2.gamma)
    names = {k: re.sub(r"ls(\d)\.gamma", r"gamma_\1", k) for k in theirs.state_dict()}
    state = {names[k]: v for k, v in theirs.state_dict().items()} | {"masked_embed": T}
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    encoder = build(VIT)
    loaded = load_weights(encoder, tmp_path / "weights.pth")
    assert loaded.notes[0] == "4 scales of LayerScale multiplied into the layers before them."
    x = torch.randn(2, 3, 16, 16)
    assert torch.allclose(encoder(x).pooled, theirs(x), atol=1e-5)


def test_old_files_without_batch_counters_load(tmp_path):
    state = build(RESNET, 1).model.state_dict()
    old = {k: v for k, v in state.items() if "num_batches_tracked" not in k}
    torch.save(old, tmp_path / "weights.pth")
    assert load_weights(build(RESNET), tmp_path / "weights.pth").tensors == len(old)
