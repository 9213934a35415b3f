"""Triplets: for your own data."""

from typing import Any

from manyviews.methods.contrastive.triplet import TripletConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run


def small(facts: Facts) -> Run[TripletConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train triplet --data DIR`.
    """
    return small_data.run(
        facts,
        name="triplet",
        method=TripletConfig(hidden=512),
    )
