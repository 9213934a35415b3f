"""What is particular to a project's checkpoints becomes timm's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from layouts import (
    CLASSIFIER,
    RESNET_18,
    RESNET_BOTTLENECK,
    VIT,
    T,
    build,
    huggingface,
    numbered,
    other,
    prefixed,
    refused,
    small_beit,
)
from manyviews.core.inputs import IMAGENET_MEAN, Pixels
from manyviews.encoders import TimmConfig, ViTConfig, load_weights
from manyviews.encoders.official import OFFICIAL

REFERENCE = Path(__file__).parents[1] / "reference" / "data"
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


def test_data2vecs_file_gives_the_authors_tokens(tmp_path):
    """Made with their network (tests/reference/data/README.md); BEiT's but for head and pixels."""
    with np.load(REFERENCE / "data2vec_vit.npz") as file:
        saved = {key: torch.from_numpy(file[key]) for key in file.files}
    state = {key[2:]: value for key, value in saved.items() if key.startswith("p.")}
    torch.save({"model": state, "epoch": 799}, tmp_path / "checkpoint-799.pth")
    encoder = small_beit(0, width=12)
    loaded = load_weights(encoder, tmp_path / "checkpoint-799.pth")
    assert loaded.project == "data2vec"
    assert OFFICIAL["data2vec"].mean == IMAGENET_MEAN != OFFICIAL["beit"].mean
    found = encoder(saved["images"])
    torch.testing.assert_close(found.tokens, saved["tokens"][:, 1:], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.pooled, found.tokens.mean(dim=1))
    wider = {"model": state | {"lm_head.weight": torch.zeros(64, 12)}}
    torch.save(wider, tmp_path / "codes.pth")
    assert load_weights(encoder, tmp_path / "codes.pth").project == "beit"


@pytest.mark.parametrize("head", [True, False])
def test_a_fine_tuned_data2vec_is_told_by_one_table_beside_a_norm_of_the_mean(tmp_path, head):
    """facebookresearch/data2vec_vision run_class_finetuning.py:324; unilm's has a table a block."""
    trained, encoder = small_beit(1), small_beit(2)
    state = dict(trained.model.state_dict())
    shared = state["blocks.0.attn.relative_position_bias_table"]
    state = {k: v for k, v in state.items() if "relative_position" not in k}
    state["rel_pos_bias.relative_position_bias_table"] = shared
    if head:
        state["head.weight"] = T
    torch.save({"module": state}, tmp_path / "mp_rank_00_model_states.pt")
    loaded = load_weights(encoder, tmp_path / "mp_rank_00_model_states.pt")
    assert loaded.project == "data2vec_finetuned"
    assert OFFICIAL["data2vec_finetuned"].mean == (0.5, 0.5, 0.5)  # their command's
    trained.model.blocks[1].attn.relative_position_bias_table.data.copy_(shared)
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(encoder(x).pooled, trained(x).pooled)


@pytest.mark.parametrize("name", ["weights.pth", "beit_base_patch16_224_pt22k.pth"])
def test_one_table_without_a_head_is_beits_or_data2vecs_and_not_guessed(tmp_path, name):
    trained, encoder = small_beit(1), small_beit(2)
    state = dict(trained.model.state_dict())
    shared = state["blocks.0.attn.relative_position_bias_table"]
    state = {k: v for k, v in state.items() if "relative_position" not in k}
    state = {k.replace("fc_norm.", "norm."): v for k, v in state.items()}
    torch.save(state | {"rel_pos_bias.relative_position_bias_table": shared}, tmp_path / name)
    loaded = load_weights(encoder, tmp_path / name)
    assert loaded.project == ("beit" if name.startswith("beit") else "")
    assert encoder(torch.randn(1, 3, 32, 32)).tokens.mean(2).abs().max() < 1e-3  # normed


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


def test_simclr_converted_is_known_by_its_shortcuts_that_come_first(tmp_path):
    state = build(RESNET_BOTTLENECK, 1).model.state_dict()
    shortcuts = {k: v for k, v in state.items() if "downsample" in k}
    torch.save({"state_dict": shortcuts | state | CLASSIFIER}, tmp_path / "weights.pth")
    loaded = load_weights(build(RESNET_BOTTLENECK), tmp_path / "weights.pth")
    assert loaded.project == "simclr"
    assert (OFFICIAL["simclr"].mean, OFFICIAL["simclr"].std) == ((0, 0, 0), (1, 1, 1))


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
