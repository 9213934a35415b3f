"""ER, for your own data. The authors published no hyper-parameters with their code."""

from typing import Any

from manyviews.methods.information.er import ERConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run


def small(facts: Facts) -> Run[ERConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train er --data DIR`.
    """
    return small_data.run(facts, name="er", method=ERConfig(hidden=512, out=128))
