"""DrLIM: for your own data."""

from typing import Any

from manyviews.methods.contrastive.drlim import DrLIMConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run


def small(facts: Facts) -> Run[DrLIMConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train drlim --data DIR`.
    """
    return small_data.run(
        facts,
        name="drlim",
        method=DrLIMConfig(hidden=512),
    )
