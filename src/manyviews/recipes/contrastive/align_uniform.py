"""Alignment and uniformity: for your own data."""

from typing import Any

from manyviews.methods.contrastive.align_uniform import AlignUniformConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run


def small(facts: Facts) -> Run[AlignUniformConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train align-uniform --data DIR`.
    """
    return small_data.run(
        facts,
        name="align-uniform",
        method=AlignUniformConfig(hidden=512),
    )
