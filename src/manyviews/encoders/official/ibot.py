"""iBOT: DINO's network with a `masked_embed`, and sometimes with LayerScale as `gamma_1`."""

from manyviews.encoders.official.project import Project, has, respell

PROJECT = Project(
    title="iBOT",
    source="bytedance/ibot models/vision_transformer.py, evaluation/unsupervised",
    recognise=lambda found: has(found, r"(^|[./])masked_embed$"),
    places=("teacher/backbone.", "teacher/module.backbone.", "state_dict/", "state_dict/backbone."),
    spelling=respell((r"\.ls(\d)\.gamma$", r".gamma_\1")),
    heads={192: 3, 384: 6, 768: 12, 1024: 16},
    interpolation="dino",
)
