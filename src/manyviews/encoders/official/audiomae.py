"""Audio-MAE: MAE's names, on spectrograms of one channel."""

from manyviews.encoders.official.project import Found, Project, has


def _recognise(found: Found) -> bool:
    """MAE's decoder, or its classifier's norm, beside patches of one channel."""
    patches = [v for name, v in found.items() if name.endswith("patch_embed.proj.weight")]
    return has(found, r"(^|[./])(decoder_embed|decoder_blocks|fc_norm)") and any(
        v.ndim == 4 and v.shape[1] == 1 for v in patches
    )


PROJECT = Project(
    title="Audio-MAE",
    source="facebookresearch/AudioMAE models_mae.py, models_vit.py, dataset.py",
    recognise=_recognise,
    places=("model/",),
    heads={384: 6, 768: 12, 1024: 16},
    interpolation="mae",
    mean=(),
    std=(),
)
