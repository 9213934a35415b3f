"""DepthContrast: for your own clouds, and after the authors' training on depth maps of rooms."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Points
from manyviews.core.schedules import Cosine
from manyviews.core.settings import struct
from manyviews.data.settings import Data
from manyviews.encoders.points import PointNetConfig
from manyviews.encoders.voxels import VoxelsConfig
from manyviews.methods.contrastive.moco import MoCoConfig
from manyviews.methods.points.depthcontrast import DepthContrastConfig
from manyviews.recipes import small_data
from manyviews.recipes.points import own
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.points.clouds import Clouds

STREAMS = ("points",)
"""What these recipes take of a sample."""

_SLOW = Cosine(0.99, 0.99)


def small(facts: Facts) -> Run[DepthContrastConfig, Any, Any]:
    """Your own clouds, as points and as voxels, sized to the hardware.

    Command: `manyviews train depthcontrast --data DIR`. The accuracy is not yet measured.
    """
    views = own.clouds()
    return Run(
        recipe="depthcontrast",
        method=DepthContrastConfig(queue=4096, momentum=_SLOW, norm_groups=4),
        encoders=struct("Encoders", {"points": own.pointnet(facts), "voxels": own.voxels(facts)}),
        views=struct("Views", {"points": views, "voxels": replace(views, to="voxels")}),
        data=small_data.data(facts, largest=64),
        optim=own.OPTIM,
        train=small_data.duration(facts),
    )


def points(facts: Facts) -> Run[MoCoConfig, Any, Any]:
    """Your own clouds, as points alone: with one format the method is MoCo on clouds.

    Command: `manyviews train depthcontrast-points --data DIR`. The accuracy is not yet measured.
    """
    method = MoCoConfig(temperature=0.1, queue=4096, momentum=_SLOW, norm_groups=4)
    return Run(
        recipe="depthcontrast-points",
        method=method,
        encoders=struct("Encoders", {"points": own.pointnet(facts)}),
        views=struct("Views", {"global": own.clouds()}),
        data=small_data.data(facts, largest=64),
        optim=own.OPTIM,
        train=small_data.duration(facts),
    )


def scannet(facts: Facts) -> Run[DepthContrastConfig, Any, Any]:
    """The authors' joint training on depth maps of ScanNet, with a dense grid for their voxels.

    Command: `torchrun --nproc-per-node 8 -m manyviews train depthcontrast-scannet --data DIR`.
    Source: facebookresearch/DepthContrast configs/point_vox_template.yaml (32 clouds on each of 32
    GPUs; the released weights stop at 300 to 700 of 1000 epochs). Their sparse U-Net over cells of
    5 cm becomes a dense one over cells of 12.5 cm.
    """
    rooms = Points(count=20_000, unit=False)
    return Run(
        recipe="depthcontrast-scannet",
        method=DepthContrastConfig(),
        encoders=struct(
            "Encoders",
            {
                "points": PointNetConfig(
                    input=rooms,
                    centres=(2048, 1024, 512, 256),
                    radii=(0.2, 0.4, 0.8, 1.2),
                    neighbours=(64, 32, 16, 16),
                    width=64,
                    up=2,
                    up_width=512,
                ),
                "voxels": VoxelsConfig(input=rooms, side=64, cell=0.125, width=32, depth=4),
            },
        ),
        views=struct("Views", {"points": Clouds(), "voxels": Clouds(to="voxels")}),
        data=Data(source=facts.source, batch_size=1024),
        optim=Optim(
            name="sgd",
            lr=0.12,
            lr_per=0,
            lr_end=1e-3,
            weight_decay=1e-4,
            decay_all=True,
            by_epoch=True,
        ),
        train=Train(epochs=1000),
    )
