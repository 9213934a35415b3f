"""Barlow Twins: whole checkpoints have `backbone`, `projector` and a batch norm `bn`."""

from manyviews.encoders.official.project import Project, has

PROJECT = Project(
    title="Barlow Twins",
    source="facebookresearch/barlowtwins main.py, evaluate.py",
    recognise=lambda found: has(found, r"^model/module\.backbone\.", r"^model/module\.bn\."),
    places=("model/module.backbone.",),
)
