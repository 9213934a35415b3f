"""Every kind of family by its name."""

from collections.abc import Mapping
from typing import Any

from manyviews.views.audio.sounds import Sounds
from manyviews.views.image.blocks import Blocks
from manyviews.views.image.tiles import Tiles
from manyviews.views.image.turned import Turned
from manyviews.views.plan import Crops
from manyviews.views.video.clips import Clips

FAMILIES: Mapping[str, type[Any]] = {
    "crops": Crops,
    "blocks": Blocks,
    "tiles": Tiles,
    "turned": Turned,
    "clips": Clips,
    "sounds": Sounds,
}
