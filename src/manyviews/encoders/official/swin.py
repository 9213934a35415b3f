"""Swin as its authors save it: downsampling ends a stage, where timm's begins one."""

import re

from manyviews.encoders.official.project import Project, has


def _spelling(name: str) -> tuple[str, ...]:
    moved = re.match(r"^layers\.(\d+)\.downsample\.(.*)$", name)
    return (f"layers.{int(moved[1]) - 1}.downsample.{moved[2]}",) if moved else (name,)


PROJECT = Project(
    title="Swin",
    source="microsoft/Swin-Transformer models/swin_transformer.py",
    recognise=lambda found: has(found, r"(^|[./])layers\.0\.downsample\."),
    files=("swin_*",),
    spelling=_spelling,
)
