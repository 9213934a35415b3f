"""SimSiam: an encoder with its projector as `fc`, and a predictor."""

from manyviews.encoders.official.project import Project, has

PROJECT = Project(
    title="SimSiam",
    source="facebookresearch/simsiam main_lincls.py",
    recognise=lambda found: has(found, r"^state_dict/module\.encoder\.conv1"),
    places=("state_dict/module.encoder.",),
    resize="bilinear",
)
