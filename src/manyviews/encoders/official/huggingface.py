"""Transformers' ViT: query, key and value apart, under its own names."""

import re

from manyviews.encoders.official.project import Project, has

_RULES = (
    (r"^cls_token$", "embeddings.cls_token"),
    (r"^reg_token$", "embeddings.register_tokens"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.", "encoder.layer."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
)
_VIT = (
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)


def respelled(name: str, rules: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Transformers' names of a tensor of timm's ViT, for what all its ViTs share and `rules`."""
    for pattern, new in (*_RULES, *rules):
        name = re.sub(pattern, new, name)
    if ".attn.qkv." in name:
        return tuple(
            name.replace(".attn.qkv.", f".attention.attention.{part}.")
            for part in ("query", "key", "value")
        )
    return (name,)


PROJECT = Project(
    title="Transformers ViT",
    source="huggingface/transformers models/vit/modeling_vit.py, image_processing_vit.py",
    recognise=lambda found: has(found, r"layernorm_before\.weight$", r"attention\.query\.weight$"),
    spelling=lambda name: respelled(name, _VIT),
    heads={192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16},
    resize="bilinear",
    mean=(),
    std=(),
)
