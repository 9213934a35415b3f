"""BoWNet: visual words of a frozen teacher, on your own images. The authors published no code."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.clustering.bownet import BoWNetConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run, Teacher


def small(facts: Facts) -> Run[BoWNetConfig, Any, Any]:
    """Your own data, sized to the images and the hardware; the teacher is yours to name.

    The authors' is a network that learnt to tell rotations: `manyviews train rotation --data DIR
    --out teacher`, then `manyviews train bownet --data DIR --teachers.teacher teacher`.
    """
    words = max(2, min(2048, facts.count // 16))
    run = small_data.run(facts, name="bownet", method=BoWNetConfig(words=words))
    crops = parts(run.views)["global"]
    clean = replace(
        crops,
        count=1,
        scale=(1.0, 1.0),
        ratio=(1.0, 1.0),
        flip=0.0,
        jitter=0.0,
        grey=0.0,
        blur=(0.0,),
    )
    return replace(
        run,
        views=struct("Views", {"global": crops, "clean": clean}),
        teachers=struct("Teachers", {"teacher": Teacher()}),
    )
