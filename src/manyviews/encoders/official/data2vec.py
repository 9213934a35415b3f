"""data2vec for images: BEiT's network, a head as wide as the network, ImageNet's pixels."""

from dataclasses import replace

from manyviews.encoders.official import beit
from manyviews.encoders.official.project import IMAGENET, Found, has


def _recognise(found: Found) -> bool:
    """BEiT's tensors beside a head that predicts tokens, where BEiT's scores codes."""
    heads = [v for name, v in found.items() if name.endswith("lm_head.weight")]
    square = any(v.ndim == 2 and v.shape[0] == v.shape[1] for v in heads)
    return square and has(found, r"\.attn\.q_bias$", r"relative_position_bias_table$")


PROJECT = replace(
    beit.PROJECT,
    title="data2vec",
    source="facebookresearch/data2vec_vision beit/modeling_cyclical.py, beit/README.md",
    recognise=_recognise,
    files=(),
    mean=IMAGENET[0],
    std=IMAGENET[1],
)
