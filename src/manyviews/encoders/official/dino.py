"""DINO: the teacher's backbone; its tables are sampled 0.1 places apart."""

from manyviews.encoders.official.project import Project, has

PROJECT = Project(
    title="DINO",
    source="facebookresearch/dino vision_transformer.py, utils.py, main_dino.py",
    recognise=lambda found: has(found, r"^teacher/(module\.)?backbone\."),
    files=("dino_deit*", "dino_vit*", "dino_resnet*", "dino_xcit*"),
    places=("teacher/backbone.", "teacher/module.backbone."),
    heads={192: 3, 384: 6, 768: 12},
    interpolation="dino",
)
