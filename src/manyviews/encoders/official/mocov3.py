"""MoCo v3: 12 heads in its ViT-S, which the shapes of a file do not show."""

import math

import torch

from manyviews.core.positions import sincos
from manyviews.encoders.official.project import Found, Project, has


def _recognise(found: Found) -> bool:
    return has(found, r"(^|[./])base_encoder\.") or _has_its_table(found)


def _has_its_table(found: Found) -> bool:
    """Its position table, which MAE's is too with columns and rows exchanged, stays fixed."""
    for name, table in found.items():
        if name.rpartition("/")[2].endswith("pos_embed") and "decoder" not in name:
            return _is_its_table(table)
    return False


def _is_its_table(table: torch.Tensor) -> bool:
    side = math.isqrt(max(0, table.shape[1] - 1)) if table.ndim == 3 else 0
    if side < 2 or side * side != table.shape[1] - 1 or table.shape[2] % 4:
        return False
    places = sincos(table.shape[2], (side, side)).unflatten(0, (side, side)).transpose(0, 1)
    return torch.allclose(table[0, 1:].float(), places.flatten(0, 1), atol=1e-3)


PROJECT = Project(
    title="MoCo v3",
    source="facebookresearch/moco-v3 vits.py, main_lincls.py, convert_to_deit.py",
    recognise=_recognise,
    files=("vit-s-300ep*", "vit-b-300ep*", "r-50-*00ep*"),
    places=("state_dict/module.base_encoder.", "module.base_encoder.", "base_encoder."),
    heads={384: 12, 768: 12},
    class_token=1e-6,
    resize="bilinear",
)
