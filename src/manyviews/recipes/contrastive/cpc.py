"""CPC v2, for your own data. The authors published neither code nor how they trained."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.contrastive.cpc import CPCConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.views.image.patches import Patches


def small(facts: Facts) -> Run[CPCConfig, Any, Any]:
    """Your own data, sized to the images and the hardware: patches of a quarter of the side.

    An image is 49 patches, so that batches are of 64 images at the most.
    Command: `manyviews train cpc --data DIR`.
    """
    run = small_data.run(facts, name="cpc", method=CPCConfig(hidden=64))
    crops, encoder = parts(run.views)["global"], parts(run.encoders)["image"]
    side, step = encoder.input.side, getattr(encoder, "patch", 0) or 4  # of a transformer
    size = max(8 if step == 4 else step, side // 4 // step * step)
    patches = Patches(
        size=size,
        stride=max(1, (side - size) // 6),
        jitter=crops.jitter,
        brightness=crops.brightness,
        contrast=crops.contrast,
        saturation=crops.saturation,
        hue=crops.hue,
        grey=crops.grey,
    )
    data = replace(run.data, batch_size=min(64, run.data.batch_size))
    return replace(run, views=struct("Views", {"patches": patches}), data=data)
