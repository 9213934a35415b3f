"""Debiased contrastive learning: for your own data."""

from typing import Any

from manyviews.methods.contrastive.debiased import DebiasedConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run


def small(facts: Facts) -> Run[DebiasedConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train debiased --data DIR`.
    """
    return small_data.run(
        facts,
        name="debiased",
        method=DebiasedConfig(),
    )
