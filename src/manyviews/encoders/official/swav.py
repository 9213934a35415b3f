"""SwAV, DeepCluster v2 and SeLa v2: head and prototypes lie among the encoder's names."""

from manyviews.encoders.official.project import Project, has

PROJECT = Project(
    title="SwAV",
    source="facebookresearch/swav src/resnet50.py, eval_linear.py",
    recognise=lambda found: has(
        found, r"(^|[./])(projection_head|prototypes(\.prototypes\d)?)\.", r"(^|[./])layer4\."
    ),
    files=("swav_*", "deepclusterv2_*", "selav2_*"),
    resize="bilinear",
)
