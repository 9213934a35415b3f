"""Hiera's MAE: as Hiera, with the last norm called `encoder_norm`."""

from dataclasses import replace

from manyviews.encoders.official import hiera
from manyviews.encoders.official.project import Found, has, respell


def _recognise(found: Found) -> bool:
    return has(found, r"(^|[./])encoder_norm\.", r"multi_scale_fusion_heads")


PROJECT = replace(
    hiera.PROJECT,
    title="Hiera MAE",
    recognise=_recognise,
    files=("mae_hiera_*",),
    spelling=respell((r"^(head\.)?norm\.", "encoder_norm.")),
)
