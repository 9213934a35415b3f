"""BEiT: one table of relative positions for all blocks, mean and deviation of a half."""

import re

from manyviews.encoders.official.project import HALF, Project, has


def _spelling(name: str) -> tuple[str, ...]:
    """Of the pre-trained network, which norms every token before they are averaged."""
    shared = "rel_pos_bias.relative_position_bias_table"
    name = re.sub(r"^blocks\.\d+\.attn\.relative_position_bias_table$", shared, name)
    return (re.sub(r"^fc_norm\.", "norm.", name),)


PROJECT = Project(
    title="BEiT",
    source="microsoft/unilm beit/modeling_pretrain.py, beit/datasets.py",
    recognise=lambda found: has(found, r"\.attn\.q_bias$", r"relative_position_bias_table$"),
    files=("beit_*",),
    places=("model/",),
    spelling=_spelling,
    heads={768: 12, 1024: 16},
    mean=HALF[0],
    std=HALF[1],
)
