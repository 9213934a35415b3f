"""NNCLR: for your own data."""

from typing import Any

from manyviews.methods.contrastive.nnclr import NNCLRConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run


def small(facts: Facts) -> Run[NNCLRConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train nnclr --data DIR`. There is no recipe with the authors' numbers: they
    published no code, and their decay and colours could not be checked.
    """
    return small_data.run(
        facts,
        name="nnclr",
        method=NNCLRConfig(temperature=0.2, queue=4096, hidden=512, out=128, predictor=512),
    )
