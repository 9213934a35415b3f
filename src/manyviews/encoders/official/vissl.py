"""VISSL: the trunk lies four keys deep."""

from manyviews.encoders.official.project import Project, has

PROJECT = Project(
    title="VISSL",
    source="facebookresearch/vissl vissl/utils/checkpoint.py",
    recognise=lambda found: has(found, r"^classy_state_dict/"),
    places=("classy_state_dict/base_model/model/trunk/_feature_blocks.",),
    resize="bilinear",
)
