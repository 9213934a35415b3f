"""Checkpoints of other projects, made small: their keys around an encoder's tensors."""

import argparse
import re

import pytest
import torch
from torch import nn

from manyviews import encoders
from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders import TimmConfig, ViTConfig, load_weights

VIT = ViTConfig(input=Pixels(side=16), patch=4, width=16, depth=2, heads=2)
# Small enough to write 20 times, with the names of any timm ResNet.
RESNET = TimmConfig(name="test_resnet", input=Pixels(side=32))
RESNET_18 = TimmConfig(name="resnet18", input=Pixels(side=32))
RESNET_BOTTLENECK = TimmConfig(name="resnet26", input=Pixels(side=32))
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


def small_beit(seed, width=24):
    from timm.models.beit import Beit

    from manyviews.encoders.timm_model import TimmEncoder

    torch.manual_seed(seed)
    model = Beit(
        img_size=32, patch_size=8, embed_dim=width, depth=2, num_heads=2, num_classes=0,
        use_abs_pos_emb=False, use_rel_pos_bias=True, init_values=0.1,
    )  # fmt: skip
    for name, value in model.named_parameters():
        if name.endswith(("q_bias", "v_bias", "bias_table")):
            nn.init.normal_(value)
    return TimmEncoder(model, name="beit_base_patch16_224", image_size=32, channels=3).eval()


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


def refused(tmp_path, tree, encoder, *, name="weights.pth"):
    """The message of a refusal, which is one line and leaves the encoder as it was."""
    torch.save(tree, tmp_path / name)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    with pytest.raises(UsageError) as caught:
        load_weights(encoder, tmp_path / name)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())
    return str(caught.value)
