"""VICReg: whole checkpoints have `backbone` and `projector`."""

from manyviews.encoders.official.project import Project, has

PROJECT = Project(
    title="VICReg",
    source="facebookresearch/vicreg main_vicreg.py, resnet.py, evaluate.py",
    recognise=lambda found: has(found, r"^model/module\.backbone\.", r"^model/module\.projector\."),
    places=("model/module.backbone.",),
    resize="bilinear",
)
