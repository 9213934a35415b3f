"""HCL: for your own data."""

from typing import Any

from manyviews.methods.contrastive.hcl import HCLConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run


def small(facts: Facts) -> Run[HCLConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train hcl --data DIR`.
    """
    return small_data.run(
        facts,
        name="hcl",
        method=HCLConfig(),
    )
