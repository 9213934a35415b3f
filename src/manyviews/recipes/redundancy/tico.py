"""TiCo, for your own data. The authors published no code with their numbers for ImageNet."""

from typing import Any

from manyviews.methods.redundancy.tico import TiCoConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run


def small(facts: Facts) -> Run[TiCoConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train tico --data DIR`.
    """
    return small_data.run(facts, name="tico", method=TiCoConfig(hidden=512, out=128))
