"""Transformers' DINOv2: DINOv2's weights under Transformers' names."""

from dataclasses import replace

from manyviews.encoders.official import dinov2
from manyviews.encoders.official.huggingface import respelled
from manyviews.encoders.official.project import Found, has

_NAMES = ((r"\.ls(\d)\.gamma$", r".layer_scale\1.lambda1"),)


def _recognise(found: Found) -> bool:
    return has(found, r"layer_scale1\.lambda1$")


def _spelling(name: str) -> tuple[str, ...]:
    return respelled(name, _NAMES)


PROJECT = replace(
    dinov2.PROJECT,
    title="Transformers DINOv2",
    source="huggingface/transformers models/dinov2/modeling_dinov2.py",
    recognise=_recognise,
    files=(),
    places=(),
    spelling=_spelling,
)
