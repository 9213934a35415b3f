"""SVT: DINO on clips that are long and slow, and short and fast."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Frames
from manyviews.core.schedules import Cosine, Ramp
from manyviews.core.settings import parts, struct
from manyviews.data.settings import Data
from manyviews.encoders.settings import TubeletsConfig
from manyviews.methods.distillation.dino import DINOConfig
from manyviews.recipes.video import own
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.video.clips import Clips

STREAMS = ("video",)
"""What these recipes take of a sample."""

_EPOCHS = 100


def small(facts: Facts) -> Run[DINOConfig, Any, Any]:
    """Your own videos, sized to the hardware: clips of two seconds, and of a quarter of them.

    Command: `manyviews train svt --data DIR`; clips should be nearly as long as your videos:
    `--encoders.video.input.rate 0.8` are ten seconds.
    """
    method = DINOConfig(
        hidden=512,
        bottleneck=128,
        prototypes=512,
        batch_norm=True,
        teacher_temperature=Ramp(0.04, 0.04),
        momentum=Cosine(0.99, 1.0),
        frozen_until=0.02,
    )
    run = own.run(facts, name="svt", method=method)
    [encoder], clips = parts(run.encoders).values(), parts(run.views)["global"]
    fed = replace(encoder.input, rate=4.0)
    views = {
        "global": replace(clips, scale=(0.4, 1.0), blur=0.0),
        "local": replace(
            clips, count=4, size=fed.side // 2, scale=(0.05, 0.4), blur=0.0, speeds=(0.25,)
        ),
    }
    return replace(
        run,
        encoders=struct("Encoders", {"video": replace(encoder, input=fed)}),
        views=struct("Views", views),
    )


def kinetics(facts: Facts) -> Run[DINOConfig, Any, Any]:
    """After the authors' TimeSformer-B on Kinetics-400.

    Command: `torchrun --nproc-per-node 4 -m manyviews train svt-kinetics --data DIR`. Source:
    kahnchana/svt scripts/train.sh, train_ssl.py, datasets/transform.py, datasets/decoder.py. Local
    clips have all of the encoder's pixels, where theirs have 96, as its positions are of one size;
    the output is the mean of the tokens, where theirs is the class token.
    """
    views = Clips(
        count=2,
        scale=(0.4, 1.0),
        interpolation="bicubic",
        jitter=0.8,
        saturation=0.2,
        hue=0.0,
        grey=0.2,
    )
    return Run(
        recipe="svt-kinetics",
        method=DINOConfig(teacher_temperature=Ramp(0.04, 0.04), frozen_until=1 / _EPOCHS),
        encoders=struct(
            "Encoders",
            {
                "video": TubeletsConfig(
                    input=Frames(frames=8, rate=0.8),
                    tubelet=1,
                    attention="divided",
                    positions="learned",
                    class_token=True,
                )
            },
        ),
        views=struct(
            "Views",
            {
                "global": views,
                "local": replace(views, count=8, scale=(0.05, 0.4), speeds=(1 / 8,)),
            },
        ),
        data=Data(source=facts.source, batch_size=32),
        optim=Optim(
            name="adamw",
            lr=5e-4,
            lr_end=1e-6 / (5e-4 * 32 / 256),
            weight_decay=0.04,
            weight_decay_end=0.4,
            warmup=10 / _EPOCHS,
            clip=3.0,
            clip_each=True,
        ),
        train=Train(epochs=_EPOCHS),
    )
