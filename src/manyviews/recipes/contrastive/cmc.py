"""CMC: for your own colour images, and as the authors trained it on ImageNet."""

from dataclasses import replace
from typing import Any, Literal

from manyviews.core.inputs import Pixels
from manyviews.core.settings import parts, struct
from manyviews.encoders.lab import LabConfig
from manyviews.methods.contrastive.cmc import CMCConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops


def small(facts: Facts) -> Run[CMCConfig, Any, Any]:
    """Your own colour images, sized to them and the hardware: lightness and colours, L and ab.

    InfoNCE and heads of two layers; crops and flips alone, as the authors'. Command: `manyviews
    train cmc --data DIR`.
    """
    return _of(facts, "cmc", ("L", "ab"))


def three(facts: Facts) -> Run[CMCConfig, Any, Any]:
    """The same of three views: lightness, red against green, yellow against blue.

    Every two of them are compared; `--method.core L` compares L with the others alone. Command:
    `manyviews train cmc-three --data DIR`.
    """
    return _of(facts, "cmc-three", ("L", "a", "b"))


def _of(
    facts: Facts, name: str, seen: tuple[Literal["L", "ab", "a", "b"], ...]
) -> Run[CMCConfig, Any, Any]:
    """A run with an encoder for each part of Lab, all of them sized alike.

    Raises:
        UsageError: the images have no colours.
    """
    small_data.want_colours(facts, name)
    method = CMCConfig(
        loss="info_nce", temperature=0.1, negatives=min(4096, facts.count), hidden=512
    )
    run = small_data.run(replace(facts, encoder=None), name=name, method=method)
    (like,) = parts(run.encoders).values()
    crops = Crops(
        to=seen[0],
        count=1,
        scale=parts(run.views)["global"].scale,
        jitter=0.0,
        grey=0.0,
        blur=(0.0,),
    )
    return replace(
        run,
        encoders=struct("Encoders", {part: small_data.lab(like, part) for part in seen}),
        views=struct("Views", {"global": crops}),
    )


def imagenet(facts: Facts) -> Run[CMCConfig, Any, Any]:
    """Two ResNet-50 on ImageNet, the authors' resnet50v2: no accuracy of just this is published.

    Command: `torchrun --nproc-per-node 4 -m manyviews train cmc-imagenet --data DIR`. Source:
    HobbitLong/CMC train_CMC.py and README (batch 128, K 16384, NCE, Lab). They divide the learning
    rate by 10 at epochs 120, 160 and 200 of 240, where this is a cosine; their published weights
    of this size were trained with AutoAugment and 4096 negatives.
    """
    encoders = {
        part: LabConfig(input=Pixels(), sees=part, network="resnet50", zero_init=False)
        for part in ("L", "ab")
    }
    crops = Crops(to="L", count=1, scale=(0.08, 1.0), jitter=0.0, grey=0.0, blur=(0.0,))
    return Run(
        recipe="cmc-imagenet",
        method=CMCConfig(),
        encoders=struct("Encoders", encoders),
        views=struct("Views", {"global": crops}),
        data=authors.data(facts, batch_size=128),
        optim=Optim(name="sgd", lr=0.03, lr_per=0, weight_decay=1e-4, decay_all=True),
        train=Train(epochs=240),
    )
