"""Exemplar-CNN for your own data."""

from typing import Any

from manyviews.methods.pretext.exemplar import ExemplarConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run


def small(facts: Facts) -> Run[ExemplarConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, two views a sample and step.

    For some ten thousand samples: there is a row of weights for each, and a product with all of
    them for each view. Command: `manyviews train exemplar --data DIR`.
    """
    return small_data.run(facts, name="exemplar", method=ExemplarConfig(hidden=128))
