"""What the recipes for one's own clouds share."""

from manyviews.core.inputs import Points
from manyviews.encoders.points import PointNetConfig
from manyviews.encoders.voxels import VoxelsConfig
from manyviews.runs.settings import Facts
from manyviews.training.settings import Optim
from manyviews.views.points.clouds import Clouds

OPTIM = Optim(name="adamw", lr=2e-3, lr_per=0, weight_decay=0.05, warmup=0.05)


def pointnet(facts: Facts, *, up: int = 0) -> PointNetConfig:
    """PointNet++ over clouds in the unit ball.

    Args:
        facts: what is known of data and machine.
        up: levels that features are carried back up.
    """
    if facts.device != "cpu":
        points = Points(count=2048)
        return PointNetConfig(
            input=points, centres=(512, 128, 32), neighbours=(32, 32, 16), width=64, up=up
        )
    return PointNetConfig(
        input=Points(count=512), centres=(128, 32), radii=(0.2, 0.4), neighbours=(16, 16), up=up
    )


def voxels(facts: Facts) -> VoxelsConfig:
    """A U-Net over the cells that hold such a cloud."""
    gpu = facts.device != "cpu"
    points = Points(count=2048 if gpu else 512)
    return VoxelsConfig(input=points, side=32 if gpu else 16, cell=0.075 if gpu else 0.15)


def clouds(**settings: object) -> Clouds:
    """Views of objects that stand upright: turned about z by any angle, and shaken a little."""
    return Clouds(turn="up", jitter=0.01, **settings)  # pyright: ignore[reportArgumentType]
