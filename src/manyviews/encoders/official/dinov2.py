"""DINOv2: SwiGLU and registers have other names; its training splits the blocks into chunks."""

import re

from manyviews.encoders.official.project import Project, has


def _spelling(name: str) -> tuple[str, ...]:
    name = re.sub(r"\.mlp\.fc1\.", ".mlp.w12.", re.sub(r"\.mlp\.fc2\.", ".mlp.w3.", name))
    return (re.sub(r"^reg_token$", "register_tokens", name),)


PROJECT = Project(
    title="DINOv2",
    source="facebookresearch/dinov2 dinov2/models/vision_transformer.py, dinov2/hub/backbones.py",
    recognise=lambda found: (
        (
            has(found, r"(^|[./])register_tokens$", r"\.ls1\.gamma$")
            or has(found, r"(^|[./])mask_token$", r"\.ls1\.gamma$")
            or has(found, r"^teacher/dino_head\.")
        )
        and not has(found, r"\.rope_embed\.")
    ),
    files=("dinov2_vit*",),
    places=("teacher/backbone.",),
    spelling=_spelling,
    heads={384: 6, 768: 12, 1024: 16, 1536: 24},
    interpolation="dinov2",
    class_token=1e-6,
)
