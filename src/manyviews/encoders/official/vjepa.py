"""V-JEPA: the target encoder, a ViT over tubelets whose fixed positions are in the file."""

from manyviews.encoders.official.project import Found, Project, has


def _recognise(found: Found) -> bool:
    return has(found, r"^(target_)?encoder/.*backbone\.pos_embed$") and any(
        name.endswith("patch_embed.proj.weight") and value.ndim == 5
        for name, value in found.items()
    )


PROJECT = Project(
    title="V-JEPA",
    source="facebookresearch/jepa src/models/vision_transformer.py, app/vjepa/utils.py",
    recognise=_recognise,
    files=("vitl16.pth*", "vith16*.pth*"),
    places=(
        "target_encoder/module.backbone.",
        "target_encoder/backbone.",
        "encoder/module.backbone.",
    ),
    heads={192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16},
)
