"""BEiT: one table of relative positions for all blocks, mean and deviation of a half."""

import re

from manyviews.encoders.official.project import HALF, Found, Project, has


def _spelling(name: str) -> tuple[str, ...]:
    """Of the pre-trained network, which norms every token before they are averaged."""
    shared = "rel_pos_bias.relative_position_bias_table"
    name = re.sub(r"^blocks\.\d+\.attn\.relative_position_bias_table$", shared, name)
    return (re.sub(r"^fc_norm\.", "norm.", name),)


def _recognise(found: Found) -> bool:
    """A table for each block, as fine-tuned here, or a head of codes beside one for all.

    Where the head was taken off, one table for all blocks may be data2vec's as well.
    """
    known = has(found, r"blocks\.\d+\.attn\.relative_position_bias_table$")
    known = known or has(found, r"rel_pos_bias\.relative_position_bias_table$", r"lm_head\.weight$")
    return known and has(found, r"\.attn\.q_bias$")


PROJECT = Project(
    title="BEiT",
    source="microsoft/unilm beit/modeling_pretrain.py, beit/datasets.py",
    recognise=_recognise,
    files=("beit_*",),
    places=("model/",),
    spelling=_spelling,
    heads={768: 12, 1024: 16},
    mean=HALF[0],
    std=HALF[1],
)
