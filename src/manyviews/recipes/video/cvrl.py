"""CVRL: SimCLR on two clips of a video, near one another more often than far."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Frames
from manyviews.core.settings import parts, struct
from manyviews.data.settings import Data
from manyviews.encoders.slow import SlowConfig
from manyviews.methods.contrastive.simclr import SimCLRConfig
from manyviews.recipes.video import own
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.video.unlike import UnlikeClips

STREAMS = ("video",)
"""What these recipes take of a sample."""

_STEPS = 71488


def _clips(*, sigma: tuple[float, float]) -> UnlikeClips:
    """Two clips at independent times, whose distances are CVRL's, with its colours."""
    return UnlikeClips(
        scale=(0.3, 1.0),
        ratio=(0.5, 2.0),
        jitter=0.8,
        brightness=0.8,
        contrast=0.8,
        saturation=0.8,
        hue=0.2,
        grey=0.2,
        sigma=sigma,
    )


def small(facts: Facts) -> Run[SimCLRConfig, Any, Any]:
    """Your own videos, sized to the hardware: SimCLR on two clips with CVRL's views.

    Command: `manyviews train cvrl --data DIR`.
    """
    method = SimCLRConfig(temperature=0.1, hidden=512, out=128, sum_of_views=True)
    run = own.run(facts, name="cvrl", method=method)
    sigma = parts(run.views)["global"].sigma
    return replace(run, views=struct("Views", {"global": _clips(sigma=sigma)}))


def kinetics(facts: Facts) -> Run[SimCLRConfig, Any, Any]:
    """After the authors' ResNet-50 on Kinetics-600: 70.4 % linear after 800 epochs (published).

    Command: `torchrun --nproc-per-node 16 -m manyviews train cvrl-kinetics --data DIR`. Source:
    tensorflow/models official/projects/video_ssl, its plan of 200 epochs. Their network begins with
    a convolution over five frames that leaves out every second one, and their head has one more
    layer.
    """
    return Run(
        recipe="cvrl-kinetics",
        method=SimCLRConfig(hidden=2048, layers=3, sum_of_views=True),
        encoders=struct(
            "Encoders",
            {"video": SlowConfig(input=Frames(frames=16, rate=12.5, mean=(0.0,), std=(1.0,)))},
        ),
        views=struct("Views", {"global": _clips(sigma=(0.1, 2.0))}),
        data=Data(source=facts.source, batch_size=1024),
        optim=Optim(
            name="sgd", lr=0.32, lr_per=0, warmup=1787 / _STEPS, weight_decay=1e-6, momentum=0.9
        ),
        train=Train(epochs=200),
    )
