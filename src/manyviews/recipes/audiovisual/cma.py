"""CMA, from a run of AVID: for your own videos with sound, and after the authors' on Kinetics."""

from dataclasses import replace
from typing import Any

from manyviews.methods.audiovisual.cma import CMAConfig
from manyviews.recipes.audiovisual import avid
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Train

STREAMS = ("video", "audio")
"""What these recipes take of a sample."""

NEEDS_START = True
"""As `recipes.needs_start` reads it."""


def small(facts: Facts) -> Run[CMAConfig, Any, Any]:
    """Your own videos with sound, sized to the hardware, after AVID on the same.

    Command: `manyviews train avid --data DIR --out first`, then `manyviews train cma --start first
    --data DIR`. Of few videos fewer are positives: one in sixteen.
    """
    method = CMAConfig(
        positives=max(1, min(32, facts.count // 16)),
        negatives=min(1024, facts.count),
        hidden=256,
    )
    run: Run[Any, Any, Any] = avid.small(facts)
    return replace(run, recipe="cma", method=method)


def kinetics(facts: Facts) -> Run[CMAConfig, Any, Any]:
    """The authors' R(2+1)D-18 on Kinetics-400: 87.5 % on UCF-101 after fine-tuning (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train cma-kinetics --start RUN --data DIR`,
    RUN of `avid-kinetics`. Source: facebookresearch/AVID-CMA
    configs/main/avid-cma/kinetics/InstX-N1024-PosW-N64-Top32.yaml (20 epochs of 10 clips a video,
    mined anew every 5).
    """
    method = CMAConfig(remine=5 * 10)
    run: Run[Any, Any, Any] = avid.kinetics(facts)
    return replace(run, recipe="cma-kinetics", method=method, train=Train(epochs=20 * 10))
