"""solo-learn: a Lightning checkpoint; its stem for small images pads by 2."""

from manyviews.encoders.official.project import Project, has

PROJECT = Project(
    title="solo-learn",
    source="vturrisi/solo-learn solo/methods/base.py, solo/utils/misc.py",
    recognise=lambda found: has(
        found, r"^state_dict/backbone\.", r"^state_dict/(classifier|projector|momentum_backbone)\."
    ),
    places=("state_dict/backbone.",),
    small_stem_padding=2,
    mean=(),
    std=(),
)
