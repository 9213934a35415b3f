"""MAE-ST: a class token, and learned positions of places and of times apart."""

import re

from manyviews.encoders.official.project import Project, has


def _spelling(name: str) -> tuple[str, ...]:
    whole = re.match(r"^(.*attn\.)qkv(\.\w+)$", name)
    return tuple(f"{whole[1]}{kind}{whole[2]}" for kind in "qkv") if whole else (name,)


PROJECT = Project(
    title="MAE-ST",
    source="facebookresearch/mae_st models_mae.py, util/video_vit.py; facebookresearch/SlowFast",
    recognise=lambda found: has(found, r"(^|[./])pos_embed_spatial$", r"attn\.q\.weight$"),
    places=("model_state/", "model/"),
    spelling=_spelling,
    heads={768: 12, 1024: 16, 1280: 16},
    mean=(0.45,) * 3,
    std=(0.225,) * 3,
)
