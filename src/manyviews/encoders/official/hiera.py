"""Hiera: the last norm has another name, in its MAE yet another."""

from manyviews.encoders.official.project import Project, has, respell

PROJECT = Project(
    title="Hiera",
    source="facebookresearch/hiera hiera/hiera.py, hiera/hiera_mae.py",
    recognise=lambda found: has(found, r"^model_state/patch_embed\.proj", r"^model_state/blocks\."),
    files=("hiera_*", "mae_hiera_*"),
    places=("model_state/",),
    spelling=respell((r"^head\.norm\.", "norm.")),
)
