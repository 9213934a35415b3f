"""Deep InfoMax, for your own data. The authors trained on images of up to 64 pixels."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.contrastive.infomax import DeepInfoMaxConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run


def small(facts: Facts) -> Run[DeepInfoMaxConfig, Any, Any]:
    """Your own data, sized to the images and the hardware; one view, whole and with its colours.

    Command: `manyviews train infomax --data DIR`.
    """
    run = small_data.run(facts, name="infomax", method=DeepInfoMaxConfig(out=256))
    crops = replace(
        parts(run.views)["global"],
        count=1,
        scale=(1.0, 1.0),
        ratio=(1.0, 1.0),
        jitter=0.0,
        grey=0.0,
        blur=(0.0,),
    )
    return replace(run, views=struct("Views", {"global": crops}))
