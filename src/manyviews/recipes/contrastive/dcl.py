"""DCL and DCLW: for your own data."""

from typing import Any

from manyviews.methods.contrastive.dcl import DCLConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run


def small(facts: Facts) -> Run[DCLConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train dcl --data DIR`.
    """
    return small_data.run(
        facts,
        name="dcl",
        method=DCLConfig(temperature=0.2),
    )


def weighted(facts: Facts) -> Run[DCLConfig, Any, Any]:
    """DCLW: the same with samples weighed by how far apart their views are.

    Command: `manyviews train dclw --data DIR`.
    """
    return small_data.run(
        facts,
        name="dclw",
        method=DCLConfig(temperature=0.2, sigma=0.5),
    )
