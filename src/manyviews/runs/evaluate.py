"""What `evaluate` measures: labelled protocols on features, beside what costs nothing."""

import functools
import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from manyviews.core import Encoder, UsageError
from manyviews.core.inputs import Input, Pixels
from manyviews.core.progress import bar
from manyviews.core.settings import nearest
from manyviews.evaluation import baselines as raw
from manyviews.evaluation.features import Cache, Embed, fingerprint
from manyviews.evaluation.image import finetune as finetuning
from manyviews.evaluation.image import robustness as robust
from manyviews.evaluation.image.corruptions import CORRUPTIONS
from manyviews.evaluation.image.settings import IMAGE_PROTOCOLS, FineTune, Robustness
from manyviews.evaluation.protocols import PROTOCOLS
from manyviews.evaluation.result import Result
from manyviews.runs.assemble import readers
from manyviews.runs.embedder import Embedder
from manyviews.runs.probe import LabelledProbe, SplitFeatures, Tell
from manyviews.runs.subject import untrained

log = logging.getLogger("manyviews")

PIXELS = 1024
"""Raw pixels are compared as so many numbers an image at most: at 224 they would be 150,000."""


@dataclass(frozen=True)
class Contender:
    """The features in question, or what they are compared with.

    Attributes:
        embed: what the encoder is fed, [B, *shape] -> [B, D].
        input: what that is.
        split: features of both parts, extracted once.
        network: what can be fine-tuned; None for raw pixels.
    """

    embed: Embed
    input: Input
    split: Callable[[], SplitFeatures]
    network: Encoder | None


def finetuned(side: Contender, probe: LabelledProbe, settings: FineTune) -> Result | None:
    """None for raw pixels, which have no weights to tune."""
    if side.network is None:
        return None
    with bar("fine-tuning") as progress:
        return finetuning.finetune(
            side.network,
            probe.train,
            probe.test,
            input=_pixels(side),
            settings=settings,
            device=probe.device,
            progress=progress,
            workers=readers(probe.train.source),
        )


def spoilt(side: Contender, probe: LabelledProbe, settings: Robustness) -> Result:
    """What is left of the accuracy on corrupted images."""
    split = side.split()
    with bar("corrupting") as progress:
        return robust.robustness(
            side.embed,
            split.train_x,
            split.train_y,
            probe.test,
            input=_pixels(side),
            probe=settings.probe,
            corruptions=settings.corruptions or tuple(CORRUPTIONS),
            severities=settings.severities,
            limit=settings.limit,
            device=probe.device,
            workers=readers(probe.test.source),
            progress=progress,
        )


def _pixels(side: Contender) -> Pixels:
    """What a side of an encoder of images is fed; `for_input` has left out others."""
    assert isinstance(side.input, Pixels)
    return side.input


def for_input(names: Sequence[str], input: Input) -> list[str]:
    """The protocols that an encoder can have; what needs images is left out, with a line.

    Raises:
        UsageError: none is left.
    """
    kept = [name for name in names if isinstance(input, Pixels) or name not in IMAGE_PROTOCOLS]
    left = ", ".join(name for name in names if name not in kept)
    why = f"{left} is for encoders of images, and this one is fed {type(input).__name__}."
    if not kept:
        raise UsageError(f"{why} Ask for another protocol: {', '.join(PROTOCOLS)}.")
    if left:
        log.warning("%s It is left out.", why)
    return kept


def names_of(protocol: str | Sequence[str]) -> list[str]:
    """The protocols asked for, each once; refuses what is none."""
    names = [protocol] if isinstance(protocol, str) else list(dict.fromkeys(protocol))
    if not names:
        known = ", ".join([*PROTOCOLS, *IMAGE_PROTOCOLS])
        raise UsageError(f"No protocol was given. Known: {known}.")
    for name in names:
        if name not in {**PROTOCOLS, **IMAGE_PROTOCOLS}:
            known = [*PROTOCOLS, *IMAGE_PROTOCOLS]
            raise UsageError(f"protocol is '{name}'. {nearest(name, known)}")
    return names


def contenders(
    probe: LabelledProbe, subject: Embedder, *, cache: Cache, batch_size: int
) -> dict[str, Contender]:
    """Name -> features to measure; "" is those in question, the others no training has touched."""
    random = untrained(subject).to(probe.device)

    def of(network: Embedder) -> Contender:
        # padding and interpolation are in no weight and no setting of a checkpoint's encoder
        form = hashlib.sha256(repr(network.encoder).encode()).hexdigest()[:16]
        key = replace(cache, encoder=f"{fingerprint(network)} {network.config} {form} fp32")
        split = _once(
            lambda tell: probe.split(network, batch_size=batch_size, cache=key, progress=tell)
        )
        return Contender(network, subject.input, split, network.encoder)

    floor = _of_pixels(probe, subject.input, cache=cache, batch_size=batch_size)
    return {"": of(subject), **floor, "untrained encoder": of(random)}


def _of_pixels(
    probe: LabelledProbe, input: Input, *, cache: Cache, batch_size: int
) -> dict[str, Contender]:
    """What images themselves are worth; of other samples nothing, with a line."""
    if not isinstance(input, Pixels):
        log.info("Raw pixels are left out: this encoder is fed %s.", type(input).__name__)
        return {}
    small = replace(input, side=min(input.side, math.isqrt(PIXELS // input.channels) or 1))
    pixels = raw.pixels(input)

    def raw_split(tell: Tell) -> SplitFeatures:
        key = replace(cache, encoder="pixels")
        return probe.split(pixels, input=small, batch_size=batch_size, cache=key, progress=tell)

    raw_once = _once(raw_split)

    def centred() -> SplitFeatures:
        split = raw_once()
        train_x, test_x = raw.centred(split.train_x, split.test_x)
        return SplitFeatures(train_x, split.train_y, test_x, split.test_y)

    def less_mean(x: Tensor) -> Tensor:
        return pixels(x) - raw_once().train_x.double().mean(dim=0).float().to(x.device)

    return {
        "raw pixels": Contender(pixels, small, raw_once, None),
        "centred pixels": Contender(less_mean, small, centred, None),
    }


def content_of(probe: LabelledProbe, cache: Cache) -> str:
    """A hash of all labelled samples."""
    with bar("reading") as progress:
        return probe.content(cache=cache.directory, progress=progress)


def _once(compute: Callable[[Tell], SplitFeatures]) -> Callable[[], SplitFeatures]:
    """The same features each time they are asked for, computed the first time."""

    @functools.cache
    def split() -> SplitFeatures:
        with bar("embedding") as progress:
            return compute(progress)

    return split


def refuse_for_features(names: Sequence[str], **given: object) -> None:
    """What a file of features cannot answer."""
    asked = [f"--{name.replace('_', '-')} {value}" for name, value in given.items() if value]
    asked += [f"--protocol {name}" for name in names if name in IMAGE_PROTOCOLS]
    if asked:
        raise UsageError(f"{asked[0]} is for encoders; a .npy holds features already.")
