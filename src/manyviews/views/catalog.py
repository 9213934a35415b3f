"""Every kind of family by its name."""

from collections.abc import Mapping
from typing import Any

from manyviews.views.audio.sounds import Sounds
from manyviews.views.image.augmented import Augmented
from manyviews.views.image.blocks import Blocks
from manyviews.views.image.masked import Masked
from manyviews.views.image.oriented import Oriented
from manyviews.views.image.patches import Patches
from manyviews.views.image.tiles import Tiles
from manyviews.views.image.turned import Turned
from manyviews.views.plan import Crops
from manyviews.views.points.clouds import Clouds
from manyviews.views.video.beside import BesideClips
from manyviews.views.video.blocks import BlockClips
from manyviews.views.video.clips import Clips
from manyviews.views.video.cuboids import Cuboids
from manyviews.views.video.timed import TimedClips
from manyviews.views.video.unlike import UnlikeClips

FAMILIES: Mapping[str, type[Any]] = {
    "crops": Crops,
    "augmented": Augmented,
    "blocks": Blocks,
    "masked": Masked,
    "tiles": Tiles,
    "patches": Patches,
    "turned": Turned,
    "oriented": Oriented,
    "clips": Clips,
    "beside-clips": BesideClips,
    "block-clips": BlockClips,
    "cuboids": Cuboids,
    "timed-clips": TimedClips,
    "unlike-clips": UnlikeClips,
    "sounds": Sounds,
    "clouds": Clouds,
}
