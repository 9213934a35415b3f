"""I-JEPA: the target encoder, a ViT without class token."""

from manyviews.encoders.official.project import Project, has

PROJECT = Project(
    title="I-JEPA",
    source="facebookresearch/ijepa src/models/vision_transformer.py, src/helper.py",
    recognise=lambda found: (
        has(found, r"^target_encoder/.*pos_embed$")
        and not has(found, r"^target_encoder/.*cls_token$")
    ),
    files=("IN1K-vit.*", "IN22K-vit.*"),
    places=("target_encoder/module.", "target_encoder/"),
    heads={192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16},
    interpolation="mae",
    resize="bilinear",
)
