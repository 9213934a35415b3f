"""VideoMAE: a ViT over tubelets, without class token and with fixed positions that no file has."""

from manyviews.encoders.official.project import Found, Project, has


def _recognise(found: Found) -> bool:
    return _of_clips(found) and has(found, r"attn\.q_bias$")


def _of_clips(found: Found) -> bool:
    """Whether patches have frames."""
    return any(
        name.endswith("patch_embed.proj.weight") and value.ndim == 5
        for name, value in found.items()
    )


PROJECT = Project(
    title="VideoMAE",
    source="MCG-NJU/VideoMAE modeling_pretrain.py, modeling_finetune.py",
    recognise=_recognise,
    places=("model/encoder.", "model/", "module/"),
    heads={384: 6, 768: 12, 1024: 16, 1280: 16},
)
