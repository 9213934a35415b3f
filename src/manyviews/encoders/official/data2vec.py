"""data2vec for images: BEiT's network, a head as wide as the network, ImageNet's pixels.

Fine-tuned it still has one table of relative positions for all blocks, where BEiT has one for each;
and their command for that leaves out what asks for ImageNet's pixels.
"""

from dataclasses import replace

from manyviews.encoders.official import beit
from manyviews.encoders.official.project import HALF, IMAGENET, Found, has


def _recognise(found: Found) -> bool:
    """BEiT's tensors beside a head that predicts tokens, where BEiT's scores codes."""
    heads = [v for name, v in found.items() if name.endswith("lm_head.weight")]
    square = any(v.ndim == 2 and v.shape[0] == v.shape[1] for v in heads)
    return square and has(found, r"\.attn\.q_bias$", r"relative_position_bias_table$")


def _fine_tuned(found: Found) -> bool:
    """One table for all blocks, beside a norm of the tokens' mean."""
    table = r"rel_pos_bias\.relative_position_bias_table$"
    return has(found, r"\.attn\.q_bias$", table, r"(^|[./])fc_norm\.weight$")


PROJECT = replace(
    beit.PROJECT,
    title="data2vec",
    source="facebookresearch/data2vec_vision beit/modeling_cyclical.py, beit/README.md",
    recognise=_recognise,
    files=(),
    mean=IMAGENET[0],
    std=IMAGENET[1],
)

FINE_TUNED = replace(
    PROJECT,
    title="data2vec, fine-tuned",
    source="facebookresearch/data2vec_vision beit/run_class_finetuning.py:166, 324, README.md",
    recognise=_fine_tuned,
    mean=HALF[0],
    std=HALF[1],
)
