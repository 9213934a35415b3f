"""MSN: the target encoder is the one that it evaluates."""

from manyviews.encoders.official.project import Project, has

PROJECT = Project(
    title="MSN",
    source="facebookresearch/msn src/deit.py, linear_eval.py",
    recognise=lambda found: has(found, r"^target_encoder/.*cls_token$"),
    places=("target_encoder/module.", "target_encoder/"),
    heads={384: 6, 768: 12, 1024: 16},
    interpolation="mae",
    resize="bilinear",
)
