"""MoCo v1 and v2, and PCL: the query encoder is the one that they evaluate."""

from manyviews.encoders.official.project import Project, has

PROJECT = Project(
    title="MoCo",
    source="facebookresearch/moco main_lincls.py; salesforce/PCL pcl/builder.py",
    recognise=lambda found: has(found, r"(^|[./])encoder_q\."),
    files=("moco_v?_*",),
    places=("state_dict/module.encoder_q.", "module.encoder_q.", "encoder_q."),
    resize="bilinear",
)
