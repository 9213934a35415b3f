"""Checkpoints of other projects, made small: their keys around an encoder's tensors."""

import argparse
import datetime
import json
import pathlib
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from manyviews import encoders
from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.positions import sincos
from manyviews.encoders import TimmConfig, ViTConfig, load_weights
from manyviews.encoders.official import OFFICIAL
from manyviews.encoders.resample import resample

VIT = ViTConfig(input=Pixels(side=16), patch=4, width=16, depth=2, heads=2)
# Small enough to write 20 times, with the names of any timm ResNet.
RESNET = TimmConfig(name="test_resnet", input=Pixels(side=32))
T = torch.zeros(2)


def build(config, seed=0):
    torch.manual_seed(seed)
    made = encoders.build(config).eval()
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return made


def prefixed(state, prefix):
    return {prefix + k: v for k, v in state.items()}


def other(state):
    """The same names with other values: a student, a key encoder."""
    return {k: v + 1 for k, v in state.items()}


def moco(state):
    tensors = prefixed(other(state), "module.encoder_k.") | prefixed(state, "module.encoder_q.")
    return {"epoch": 1, "state_dict": tensors | {"module.encoder_q.fc.0.weight": T, "queue": T}}


def vissl(state):
    trunk = prefixed(state, "_feature_blocks.")
    return {"classy_state_dict": {"base_model": {"model": {"trunk": trunk, "heads": {"x": T}}}}}


def dino(state):
    return {
        "student": prefixed(other(state), "module.backbone."),
        "teacher": prefixed(state, "backbone.") | {"head.mlp.0.weight": T},
        "args": argparse.Namespace(arch="x"),
        "epoch": 3,
    }


def dinov2(state):
    """Of a training: blocks in chunks, a mask token, heads beside the teacher's backbone."""
    chunked = {re.sub(r"^blocks\.", "blocks.0.", k): v for k, v in state.items()}
    teacher = prefixed(chunked | {"mask_token": T}, "backbone.")
    student = prefixed(other(chunked), "backbone.")
    return {"teacher": teacher | {"dino_head.mlp.0.weight": T}, "student": student}


def numbered(state):
    parts = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    return {parts[k.partition(".")[0]] + k[k.index(".") :]: v for k, v in state.items()}


def huggingface(state):
    names = {
        "patch_embed.proj.": "embeddings.patch_embeddings.projection.",
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "blocks.": "encoder.layer.",
        ".norm1.": ".layernorm_before.",
        ".norm2.": ".layernorm_after.",
        ".attn.proj.": ".attention.output.dense.",
        ".mlp.fc1.": ".intermediate.dense.",
        ".mlp.fc2.": ".output.dense.",
    }
    out = {}
    for name, value in state.items():
        name = re.sub(r"^norm\.", "layernorm.", name)
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        parts = ("query", "key", "value") if ".attn.qkv." in name else ()
        for part, piece in zip(parts, value.chunk(3), strict=False):
            out[name.replace(".attn.qkv.", f".attention.attention.{part}.")] = piece
        if not parts:
            out[name] = value
    return prefixed(out, "vit.") | {"classifier.weight": T}


CLASSIFIER = {"fc.weight": T, "fc.bias": T}
HEAD = {"projection_head.0.weight": T, "prototypes.weight": T}


def sharded(state):
    wrapper = "_fsdp_wrapped_module."
    return {re.sub(r"(blocks\.\d\.)", rf"\1{wrapper}", wrapper + k): v for k, v in state.items()}


WRAPPERS = {
    # what weights.md found right at the start, and has to stay so
    "moco": (RESNET, "moco", moco),
    "mocov3": (
        VIT,
        "mocov3",
        lambda s: {
            "state_dict": prefixed(other(s), "module.momentum_encoder.")
            | prefixed(s, "module.base_encoder.")
            | {"module.base_encoder.head.0.weight": T, "module.predictor.0.weight": T}
        },
    ),
    "simsiam": (
        RESNET,
        "simsiam",
        lambda s: {"state_dict": prefixed(s | CLASSIFIER, "module.encoder.")},
    ),
    "swav": (RESNET, "swav", lambda s: prefixed(s | HEAD, "module.")),
    "dino": (VIT, "dino", dino),
    "ibot": (VIT, "ibot", lambda s: {"state_dict": s | {"masked_embed": T}}),
    "msn": (
        VIT,
        "msn",
        lambda s: {
            "encoder": prefixed(other(s), "module."),
            "target_encoder": prefixed(s | {"fc.fc1.weight": T}, "module."),
        },
    ),
    "mae": (VIT, "mae", lambda s: {"model": s | {"mask_token": T, "decoder_embed.weight": T}}),
    "npid": (RESNET, "", lambda s: {"state_dict": prefixed(s | CLASSIFIER, "module.")}),
    "vissl": (RESNET, "vissl", vissl),
    "solo": (
        RESNET,
        "solo",
        lambda s: {
            "state_dict": prefixed(other(s), "momentum_backbone.")
            | prefixed(s, "backbone.")
            | {"projector.0.bias": T}
        },
    ),
    "flat with a classifier": (RESNET, "", lambda s: s | CLASSIFIER),
    "flat ViT with a head": (VIT, "", lambda s: s | {"head.weight": T, "head.bias": T}),
    # refused at the start though the encoder was right
    "SwAV's training": (
        RESNET,
        "swav",
        lambda s: {"epoch": 1, "state_dict": prefixed(s | HEAD, "module."), "optimizer": {"x": T}},
    ),
    "SwAV stripped": (RESNET, "swav", lambda s: s | HEAD),
    "Barlow's training": (
        RESNET,
        "barlow",
        lambda s: {
            "model": prefixed(s, "module.backbone.")
            | {"module.projector.0.weight": T, "module.bn.running_mean": T}
        },
    ),
    "VICReg's training": (
        RESNET,
        "vicreg",
        lambda s: {"model": prefixed(s, "module.backbone.") | {"module.projector.0.weight": T}},
    ),
    "DINO's ResNet, teacher in DDP": (
        RESNET,
        "dino",
        lambda s: {
            "student": prefixed(other(s), "module.backbone."),
            "teacher": prefixed(s, "module.backbone.") | {"module.head.mlp.0.weight": T},
        },
    ),
    "DINOv2's training": (VIT, "dinov2", dinov2),
    "timm's training": (
        RESNET,
        "",
        lambda s: {"epoch": 3, "arch": "x", "state_dict": s | CLASSIFIER},
    ),
    "DDP": (RESNET, "", lambda s: prefixed(s | CLASSIFIER, "module.")),
    "compiled": (RESNET, "", lambda s: prefixed(s, "_orig_mod.")),
    "compiled in DDP": (VIT, "", lambda s: prefixed(s, "module._orig_mod.")),
    "Lightning": (RESNET, "", lambda s: {"state_dict": prefixed(s, "model.")}),
    "backbone": (VIT, "", lambda s: prefixed(s, "backbone.") | {"head.weight": T}),
    "model_state_dict": (VIT, "", lambda s: {"model_state_dict": s, "loss": 0.1}),
    "FSDP": (VIT, "", lambda s: {"app": {"model": sharded(s)}}),
    "averaged beside others": (
        VIT,
        "",
        lambda s: {"state_dict": other(s), "state_dict_ema": s},
    ),
    "a ViT of Transformers": (VIT, "huggingface", huggingface),
    "a list of networks": (VIT, "", lambda s: {"nets": [s, {"head": T}]}),
}


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


REGISTERS = ViTConfig(
    name="vit_small_patch14_reg4_dinov2", input=Pixels(side=28), width=16, depth=1, heads=2
)


def with_class_row(state):
    """DINOv2 gives its class token a row of the position table; timm adds it to the token."""
    row = torch.randn(1, 1, state["cls_token"].shape[2])
    table = torch.cat([row, state["pos_embed"]], dim=1)
    return state | {"cls_token": state["cls_token"] - row, "pos_embed": table}


def test_dinov2_register_checkpoints_become_timms(tmp_path):
    trained, encoder = build(REGISTERS, 1), build(REGISTERS, 2)
    state = with_class_row(dict(trained.model.state_dict()))
    state["register_tokens"] = state.pop("reg_token")
    torch.save(state | {"mask_token": T}, tmp_path / "weights.pth")
    assert load_weights(encoder, tmp_path / "weights.pth").project == "dinov2"
    for name, value in trained.model.state_dict().items():
        assert torch.allclose(encoder.model.state_dict()[name], value, atol=1e-6), name


def test_dinov2_of_transformers_becomes_timms(tmp_path):
    trained, encoder = build(REGISTERS, 1), build(REGISTERS, 2)
    state = huggingface(with_class_row(dict(trained.model.state_dict())))
    out = {}
    for name, value in state.items():
        for old, new in {
            "reg_token": "embeddings.register_tokens",
            "layernorm_before": "norm1",
            "layernorm_after": "norm2",
            ".ls1.gamma": ".layer_scale1.lambda1",
            ".ls2.gamma": ".layer_scale2.lambda1",
            ".intermediate.dense": ".mlp.fc1",
            "0.output.dense": "0.mlp.fc2",
        }.items():
            name = name.replace(old, new)
        out[name.removeprefix("vit.")] = value
    safetensors.torch.save_file(out, tmp_path / "model.safetensors")
    assert load_weights(encoder, tmp_path / "model.safetensors").project == "huggingface_dinov2"
    for name, value in trained.model.state_dict().items():
        assert torch.allclose(encoder.model.state_dict()[name], value, atol=1e-6), name


def test_swiglu_has_other_names_in_dinov2(tmp_path):
    config = ViTConfig(
        name="vit_giant_patch14_dinov2", input=Pixels(side=28), width=24, depth=1, heads=2
    )
    trained, encoder = build(config, 1), build(config, 2)
    names = {"mlp.fc1": "mlp.w12", "mlp.fc2": "mlp.w3"}
    state = {}
    for key, value in trained.model.state_dict().items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        state[key] = value
    torch.save(state | {"mask_token": T}, tmp_path / "weights.pth")
    load_weights(encoder, tmp_path / "weights.pth")
    for key, value in trained.model.state_dict().items():
        assert torch.equal(encoder.model.state_dict()[key], value), key


@pytest.mark.parametrize("stage", ["pre-trained", "fine-tuned"])
def test_beits_tables_and_norm(tmp_path, stage):
    trained, encoder = small_beit(1), small_beit(2)
    state = dict(trained.model.state_dict())
    shared = state["blocks.0.attn.relative_position_bias_table"]
    state["blocks.0.attn.relative_position_index"] = torch.zeros(2, dtype=torch.int64)
    if stage == "pre-trained":
        state = {k: v for k, v in state.items() if "relative_position_bias_table" not in k}
        state = {k.replace("fc_norm.", "norm."): v for k, v in state.items()}
        state |= {"rel_pos_bias.relative_position_bias_table": shared, "lm_head.weight": T}
        state["mask_token"] = T
    torch.save({"model": state | {"head.weight": T}}, tmp_path / "weights.pth")
    loaded = load_weights(encoder, tmp_path / "weights.pth")
    assert loaded.project == "beit"
    x = torch.randn(1, 3, 32, 32)
    found = encoder(x)
    if stage == "fine-tuned":
        assert torch.equal(found.pooled, trained(x).pooled)
        return
    for block in encoder.model.blocks:
        assert torch.equal(block.attn.relative_position_bias_table, shared)
    assert torch.allclose(found.pooled, found.tokens.mean(1), atol=1e-6)
    assert found.tokens.mean(2).abs().max() < 1e-3  # they went through the norm


def small_beit(seed):
    from timm.models.beit import Beit

    from manyviews.encoders.timm_model import TimmEncoder

    torch.manual_seed(seed)
    model = Beit(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=0,
        use_abs_pos_emb=False, use_rel_pos_bias=True, init_values=0.1,
    )  # fmt: skip
    for name, value in model.named_parameters():
        if name.endswith(("q_bias", "v_bias", "bias_table")):
            nn.init.normal_(value)
    return TimmEncoder(model, name="beit_base_patch16_224", image_size=32, channels=3).eval()


@pytest.mark.parametrize("stage", ["hiera", "hiera_mae", "timm"])
def test_hiera(tmp_path, stage):
    from timm.models.hiera import Hiera

    from manyviews.encoders.timm_model import TimmEncoder

    def small(seed):
        torch.manual_seed(seed)
        model = Hiera(
            img_size=(64, 64), embed_dim=8, num_heads=1, stages=(1, 1, 1, 1), num_classes=0
        )
        return TimmEncoder(model, name="hiera_tiny_224", image_size=64, channels=3).eval()

    trained, encoder = small(1), small(2)
    state = dict(trained.model.state_dict())
    if stage != "timm":
        norm = "norm." if stage == "hiera" else "encoder_norm."
        state = {k.replace("head.norm.", norm): v for k, v in state.items()}
        state["head.projection.weight"] = T
        if stage == "hiera_mae":
            state |= {"multi_scale_fusion_heads.0.weight": T, "decoder_embed.weight": T}
        state = {"model_state": state}
    torch.save(state, tmp_path / "weights.pth")
    assert load_weights(encoder, tmp_path / "weights.pth").project == stage.replace("timm", "")
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(encoder(x).pooled, trained(x).pooled)


def test_cait(tmp_path):
    config = TimmConfig(name="cait_xxs24_224", input=Pixels(side=224))
    trained, encoder = build(config, 1), build(config, 2)
    torch.save(trained.model.state_dict(), tmp_path / "weights.pth")
    assert load_weights(encoder, tmp_path / "weights.pth").tensors == len(
        trained.model.state_dict()
    )


def test_ijepa_has_no_class_token(tmp_path):
    config = ViTConfig(
        name="vit_huge_patch14_gap_224",
        input=Pixels(side=28),
        width=16,
        depth=1,
        heads=2,
        pool="mean",
    )
    trained, encoder = build(config, 1), build(config, 2)
    state = trained.model.state_dict()
    tree = {
        "encoder": prefixed(other(state), "module."),
        "predictor": {"module.mask_token": T},
        "target_encoder": prefixed(state, "module."),
    }
    torch.save(tree, tmp_path / "weights.pth")
    assert load_weights(encoder, tmp_path / "weights.pth").project == "ijepa"
    assert torch.equal(encoder.model.pos_embed, trained.model.pos_embed)
    with_token = replace(VIT, patch=14, input=Pixels(side=28), depth=1)
    text = refused(tmp_path, tree, build(with_token))
    assert "pos_embed is (1, 4, 16) instead of (1, 5, 16)" in text
    assert "1 blocks and patch 14 without class token" in text


def test_byols_network_pads_unevenly(tmp_path):
    """Known by kernels that lie in memory as JAX has them, and batches that nobody counted."""
    import torch.nn.functional as F

    encoder = build(RESNET_18)
    state = {k: v for k, v in build(RESNET_18, 1).model.state_dict().items() if "tracked" not in k}
    turned = {
        k: v.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1) if v.ndim == 4 else v
        for k, v in state.items()
    }
    torch.save(turned | CLASSIFIER, tmp_path / "weights.pth")
    loaded = load_weights(encoder, tmp_path / "weights.pth")
    assert loaded.project == "byol"
    assert "Convolutions and pools pad as TensorFlow's SAME does." in loaded.notes
    x = torch.randn(1, 3, 64, 64)
    kernel = encoder.model.conv1.weight
    wanted = F.conv2d(F.pad(x, (2, 3, 2, 3)), kernel, stride=2)
    assert torch.allclose(encoder.model.conv1(x), wanted, atol=1e-5)
    y = torch.randn(1, 3, 8, 8).relu()
    assert torch.equal(encoder.model.maxpool(y), F.max_pool2d(F.pad(y, (0, 1, 0, 1)), 3, 2))


RESNET_18 = TimmConfig(name="resnet18", input=Pixels(side=32))


def test_simclr_converted_is_known_by_its_shortcuts_that_come_first(tmp_path):
    state = build(RESNET_BOTTLENECK, 1).model.state_dict()
    shortcuts = {k: v for k, v in state.items() if "downsample" in k}
    torch.save({"state_dict": shortcuts | state | CLASSIFIER}, tmp_path / "weights.pth")
    loaded = load_weights(build(RESNET_BOTTLENECK), tmp_path / "weights.pth")
    assert loaded.project == "simclr"
    assert (OFFICIAL["simclr"].mean, OFFICIAL["simclr"].std) == ((0, 0, 0), (1, 1, 1))


RESNET_BOTTLENECK = TimmConfig(name="resnet26", input=Pixels(side=32))


def test_lightlys_numbers_and_solos_small_stem(tmp_path):
    trained = build(RESNET_18, 1)
    lightly = {"state_dict": prefixed(numbered(trained.model.state_dict()), "backbone.")}
    torch.save(lightly, tmp_path / "lightly.ckpt")
    encoder = build(RESNET_18)
    assert load_weights(encoder, tmp_path / "lightly.ckpt").project == "lightly"
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(encoder(x).pooled, trained(x).pooled)
    small = replace(RESNET_18, stem="small")
    state = prefixed(build(small, 1).model.state_dict(), "backbone.") | {"projector.0.weight": T}
    torch.save({"state_dict": state}, tmp_path / "solo.ckpt")
    encoder = build(small)
    assert "The first convolution pads by 2." in load_weights(encoder, tmp_path / "solo.ckpt").notes
    assert encoder.model.conv1(x).shape == (1, 64, 34, 34)


def test_old_files_without_batch_counters_load(tmp_path):
    state = build(RESNET, 1).model.state_dict()
    old = {k: v for k, v in state.items() if "num_batches_tracked" not in k}
    torch.save(old, tmp_path / "weights.pth")
    assert load_weights(build(RESNET), tmp_path / "weights.pth").tensors == len(old)


def refused(tmp_path, tree, encoder, *, name="weights.pth"):
    """The message of a refusal, which is one line and leaves the encoder as it was."""
    torch.save(tree, tmp_path / name)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    with pytest.raises(UsageError) as caught:
        load_weights(encoder, tmp_path / name)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())
    return str(caught.value)


def test_another_encoder_is_named_by_what_its_shapes_show(tmp_path):
    wide = build(replace(VIT, width=32), 1).model.state_dict()
    text = refused(tmp_path, {"model": wide}, build(VIT))
    assert "holds another encoder under 'model/': cls_token is (1, 1, 32) instead of" in text
    assert "It looks like a ViT of width 32, 2 blocks and patch 4." in text
    deep = build(replace(VIT, depth=3), 1).model.state_dict()
    text = refused(tmp_path, deep, build(VIT))
    assert "blocks.2.norm1.weight, " in text
    assert "is unknown" in text
    assert "3 blocks" in text
    text = refused(tmp_path, build(RESNET_18, 1).model.state_dict(), build(VIT))
    assert "has no tensor with a name of this encoder's (cls_token and so on)" in text
    assert "It looks like a ResNet of 2-2-2-2 basic blocks, its first convolution 7x7." in text
    text = refused(tmp_path, build(RESNET_18, 1).model.state_dict(), build(RESNET_BOTTLENECK))
    assert "a ResNet of 2-2-2-2 basic blocks" in text


def test_half_an_encoder_is_said_to_be_half(tmp_path):
    state = build(VIT, 1).model.state_dict()
    half = {k: v for k, v in state.items() if "blocks" not in k}
    text = refused(tmp_path, half, build(VIT))
    assert re.search(
        r"is not whole, .*: blocks.0.norm1.weight, .* and 21 more of 30 tensors are", text
    )


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_one_tensor_too_few_or_too_many_is_refused(tmp_path, change):
    state = dict(build(VIT, 1).model.state_dict())
    if change == "missing":
        del state["norm.bias"]
    else:
        state["blocks.7.norm1.bias"] = T
    text = refused(tmp_path, state, build(VIT))
    assert {"missing": "norm.bias of 30 tensors are missing", "unknown": "blocks.7.norm1.bias is"}[
        change
    ] in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: torch.full_like(v, float("nan")), "holds NaN or infinite weights in 1 tensors"),
        (lambda v: torch.full_like(v, float("inf")), "holds NaN or infinite weights"),
        (lambda v: v.to(torch.int8), "holds int8 numbers (norm.weight), not floating-point"),
        (lambda v: v.to(torch.float8_e4m3fn), "holds float8_e4m3fn numbers"),
        (lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8), "holds qint8 numbers"),
    ],
    ids=["nan", "inf", "int8", "float8", "quantised"],
)
@pytest.mark.filterwarnings("ignore:.*quantiz.*")
def test_what_is_no_weights_is_refused(tmp_path, change, words):
    state = dict(build(VIT, 1).model.state_dict())
    state["norm.weight"] = change(state["norm.weight"])
    assert words in refused(tmp_path, state, build(VIT))


def test_half_precision_loads(tmp_path):
    state = {k: v.half() for k, v in build(VIT, 1).model.state_dict().items()}
    torch.save(state, tmp_path / "weights.pth")
    encoder = build(VIT)
    load_weights(encoder, tmp_path / "weights.pth")
    assert torch.equal(encoder.model.norm.weight, state["norm.weight"].float())


class Anything:
    """Of a package that only the one who saved the file has."""

    def __init__(self):
        self.setting = 1


def test_objects_beside_the_tensors_are_left_and_run_nothing(tmp_path):
    state = build(VIT, 1).model.state_dict()
    beside = {
        "accuracy": np.float64(0.5),
        "array": np.arange(3),
        "path": pathlib.PosixPath("/tmp"),
        "took": datetime.timedelta(seconds=3),
        "args": argparse.Namespace(arch="x"),
        "anything": Anything(),
    }
    torch.save({"model": state, **beside}, tmp_path / "weights.pth")
    assert load_weights(build(VIT), tmp_path / "weights.pth").tensors == len(state)


class Payload:
    def __init__(self, function, *given) -> None:
        self.function, self.given = function, given

    def __reduce__(self):
        return self.function, self.given


@pytest.mark.parametrize("how", ["touch", "system", "exec"])
def test_code_in_a_pickle_is_refused_and_never_runs(tmp_path, how):
    import os

    mark = tmp_path / "ran"
    payload = {
        "touch": Payload(pathlib.Path.touch, mark),
        "system": Payload(os.system, f"touch {mark}"),
        "exec": Payload(exec, f"open({str(mark)!r}, 'w').close()"),
    }[how]
    state = build(VIT, 1).model.state_dict()
    torch.save({"model": state, "x": payload}, tmp_path / "weights.pth")
    with pytest.raises(UsageError, match="holds pickled Python objects, which can run code"):
        load_weights(build(VIT), tmp_path / "weights.pth")
    assert not mark.exists()
    torch.load(tmp_path / "weights.pth", weights_only=False)
    assert mark.exists()  # the payload was a real one


def test_a_function_of_another_package_is_not_called(tmp_path):
    torch.save({"x": Payload(json.loads, "{"), "a": T}, tmp_path / "weights.pth")
    with pytest.raises(UsageError, match="has no tensor with a name of this encoder's"):
        load_weights(build(VIT), tmp_path / "weights.pth")


def test_a_plain_pickle_is_refused(tmp_path):
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps({"experiment_state": Anything()}))
    with pytest.raises(UsageError, match=r"weights.pkl"):
        load_weights(build(VIT), tmp_path / "weights.pkl")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("weights.pth", b"garbage", "is no torch file"),
        ("weights.pth", b"", "cannot be read"),
        ("weights.safetensors", b"garbage", "cannot be read"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        load_weights(build(VIT), tmp_path / name)
    assert "\n" not in str(caught.value)


def test_other_mistakes_are_one_line(tmp_path):
    with pytest.raises(UsageError, match="There is no file"):
        load_weights(build(VIT), tmp_path / "none.pth")
    torch.save([T], tmp_path / "list.pth")
    with pytest.raises(UsageError, match="holds a list, not named tensors"):
        load_weights(build(VIT), tmp_path / "list.pth")
    torch.save(Anything(), tmp_path / "object.pth")
    with pytest.raises(UsageError, match="holds a pickled object, not named tensors"):
        load_weights(build(VIT), tmp_path / "object.pth")
    torch.save({"a": T}, tmp_path / "other.pth")
    with pytest.raises(UsageError, match=r"There is no project 'mocco'\. Known: vissl"):
        load_weights(build(VIT), tmp_path / "other.pth", project="mocco")
