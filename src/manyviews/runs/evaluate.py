"""What `evaluate` measures: labelled protocols on features, beside what costs nothing."""

import functools
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from manyviews.core import Encoder, UsageError
from manyviews.core.inputs import Input, Pixels
from manyviews.core.progress import bar
from manyviews.core.settings import nearest
from manyviews.evaluation import baselines as raw
from manyviews.evaluation.attentive import attentive, check_tokens
from manyviews.evaluation.dense.settings import DENSE_PROTOCOLS
from manyviews.evaluation.features import Cache, Embed, fingerprint
from manyviews.evaluation.image import finetune as finetuning
from manyviews.evaluation.image import robustness as robust
from manyviews.evaluation.image.corruptions import CORRUPTIONS
from manyviews.evaluation.image.settings import IMAGE_PROTOCOLS, FineTune, Robustness
from manyviews.evaluation.layer_choice import (
    LayerScores,
    Pool,
    Tap,
    compare_layers,
    only_at,
    tap_of,
    tokens_at,
)
from manyviews.evaluation.protocols import PROTOCOLS
from manyviews.evaluation.result import Result
from manyviews.evaluation.settings import PAIR_PROTOCOLS, TOKEN_PROTOCOLS
from manyviews.runs.assemble import readers
from manyviews.runs.embedder import Embedder
from manyviews.runs.folder.read import is_run
from manyviews.runs.probe import LabelledProbe, SplitFeatures, Tell
from manyviews.runs.subject import untrained
from manyviews.views.by_input import plain_of

log = logging.getLogger("manyviews")

BEST = "best"
KNOWN = (*PROTOCOLS, *TOKEN_PROTOCOLS, *PAIR_PROTOCOLS, *IMAGE_PROTOCOLS, *DENSE_PROTOCOLS)
"""All protocols, by name."""


@dataclass(frozen=True)
class Contender:
    """The features in question, or what they are compared with.

    Attributes:
        embed: what the encoder is fed, [B, *shape] -> [B, D].
        input: what that is.
        split: features of both parts, extracted once.
        network: what can be fine-tuned; None for raw pixels.
        tap: where in it tokens are taken; None for its output.
    """

    embed: Embed
    input: Input
    split: Callable[[], SplitFeatures]
    network: Encoder | None
    tap: Tap | None = None


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
            warn=probe.warn,
        )


def attended(side: Contender, probe: LabelledProbe, *, batch_size: int) -> Result | None:
    """What a query finds that attends to tokens; None for raw pixels, which have none.

    Tokens are many numbers, so they are held for as long as it takes and not cached.
    """
    if side.network is None:
        return None
    embed = tokens_at(side.network, side.tap)
    with torch.inference_mode():
        one = embed(torch.zeros(1, *side.input.shape, device=probe.device))
    check_tokens(len(probe.train) + len(probe.test), one.shape[1:])
    with bar("embedding") as progress:
        split = probe.split(embed, batch_size=batch_size, progress=progress)
    with bar("attending") as progress:
        return attentive(*split, device=probe.device, progress=progress)


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
            warn=probe.warn,
        )


def _pixels(side: Contender) -> Pixels:
    """What a side of an encoder of images is fed; `for_input` has left out others."""
    assert isinstance(side.input, Pixels)
    return side.input


def refuse_averaged(names: Sequence[str], input: Input, *, clips: int, crops: int) -> None:
    """What has no several views, or no features to average: tokens are of their own clip's places.

    Raises:
        UsageError: such an encoder or protocol is asked for several.
    """
    plain_of(input, clips=clips, crops=crops)  # says it of the encoder
    of_tokens = [name for name in names if name in TOKEN_PROTOCOLS]
    if of_tokens and clips * crops != 1:
        raise UsageError(
            f"--clips {clips} --crops {crops} average features, and {of_tokens[0]} takes tokens. "
            f"Leave them out, or --protocol {of_tokens[0]}."
        )


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
        raise UsageError(f"No protocol was given. Known: {', '.join(KNOWN)}.")
    for name in names:
        if name not in KNOWN:
            raise UsageError(f"protocol is '{name}'. {nearest(name, list(KNOWN))}")
    return names


def contenders(
    probe: LabelledProbe,
    subject: Embedder,
    tap: Tap | None = None,
    *,
    cache: Cache,
    batch_size: int,
) -> dict[str, Contender]:
    """Name -> features to measure; "" is those in question, the others no training has touched.

    Args:
        probe: the data.
        subject: the encoder.
        tap: where features are taken, of the untrained encoder too; None for the output.
        cache: of features.
        batch_size: samples at a time.
    """
    random = untrained(subject).to(probe.device)

    def of(network: Embedder) -> Contender:
        # padding and interpolation are in no weight and no setting of a checkpoint's encoder
        form = hashlib.sha256(repr(network.encoder).encode()).hexdigest()[:16]
        at = f" after {tap}" if tap else ""
        key = replace(cache, encoder=f"{fingerprint(network)} {network.config} {form} fp32{at}")
        embed = only_at(network.encoder, tap) if tap else network
        split = _once(
            lambda tell: probe.split(embed, batch_size=batch_size, cache=key, progress=tell)
        )
        return Contender(embed, subject.input, split, network.encoder, tap)

    floor = _floor(probe, subject.input, cache=cache, batch_size=batch_size)
    return {"": of(subject), **floor, "untrained encoder": of(random)}


def _floor(
    probe: LabelledProbe, input: Input, *, cache: Cache, batch_size: int
) -> dict[str, Contender]:
    """What samples themselves are worth."""
    embedded: dict[str, Callable[[], SplitFeatures]] = {}

    def of(floor: raw.Floor) -> Contender:
        def compute(tell: Tell) -> SplitFeatures:
            key, size = replace(cache, encoder=floor.of), batch_size
            return probe.split(
                floor.embed, input=floor.input, batch_size=size, cache=key, progress=tell
            )

        whole = embedded.setdefault(floor.of, _once(compute))

        fitted = functools.cache(lambda: floor.scale(whole().train_x))

        def split() -> SplitFeatures:
            found, scaled = whole(), fitted()
            return found._replace(train_x=scaled(found.train_x), test_x=scaled(found.test_x))

        def embed(x: Tensor) -> Tensor:
            return fitted()(floor.embed(x))

        return Contender(embed, floor.input, split, None)

    return {name: of(floor) for name, floor in raw.floors(input).items()}


@dataclass(frozen=True)
class Layered:
    """Where in the encoder each protocol's features are taken.

    Attributes:
        taps: by protocol; empty for the encoder's output.
        compared: how the encoder's taps compare, where the best was asked for.
    """

    taps: Mapping[str, Tap] = field(default_factory=dict[str, Tap])
    compared: LayerScores | None = None

    def of(self, protocol: str) -> Tap | None:
        """The tap, or None for the encoder's output."""
        return self.taps.get(protocol)

    def noted(self, protocol: str, result: Result) -> Result:
        """A result that says where its features come from."""
        tap = self.of(protocol)
        if tap is None:
            return result
        how = ", chosen on training labels" if self.compared else ""
        if protocol in TOKEN_PROTOCOLS:
            settings = {**result.settings, "layer": tap.block}
            return replace(
                result,
                settings=settings,
                notes=(f"tokens of block {tap.block}{how}", *result.notes),
            )
        settings = {**result.settings, "layer": tap.block, "pool": tap.pool}
        notes = (f"features of {tap}{how}", *result.notes)
        return replace(result, settings=settings, notes=notes)


def layers_of(
    names: Sequence[str],
    probe: LabelledProbe,
    subject: Embedder,
    *,
    layer: str,
    pool: Pool | None,
    batch_size: int,
) -> Layered:
    """Where features are to be taken.

    Args:
        names: protocols.
        probe: the data, of which training labels choose.
        subject: the encoder.
        layer: of a block, counted from 1, or "best"; "" for the encoder's output.
        pool: of the block's tokens; None as said in `verbs.evaluate`.
        batch_size: samples at a time.

    Raises:
        UsageError: there is no such block, or a protocol that takes the whole encoder.
    """
    if not layer:
        if pool:
            raise UsageError(f"--pool {pool} goes with --layer. Give --layer N or --layer best.")
        return Layered()
    if pool and set(names) <= set(TOKEN_PROTOCOLS):
        raise UsageError(f"{names[0]} takes all tokens. Leave out --pool {pool}.")
    if "finetune" in names:
        raise UsageError("--layer is for frozen features. Leave it out, or --protocol finetune.")
    if layer != BEST:
        if not layer.isdecimal():
            raise UsageError(f"--layer is {layer!r}; wanted a number from 1, or best.")
        tap = tap_of(subject.encoder, int(layer), pool)
        return Layered(dict.fromkeys(names, tap))
    with bar("comparing blocks") as progress:
        compared = compare_layers(
            subject.encoder,
            probe.train,
            pool=pool,
            fixed=probe.fixed(),
            batch_size=batch_size,
            device=probe.device,
            progress=progress,
            workers=readers(probe.train.source),
            warn=probe.warn,
        )
    best = {name: compared.best(nearest=name in ("knn", "retrieval")) for name in names}
    return Layered(best, compared)


def averaged(result: Result, probe: LabelledProbe) -> Result:
    """A result that says over how many views its features were averaged, where over several."""
    if not probe.averaged:
        return result
    settings = {**result.settings, "clips": probe.clips, "crops": probe.crops}
    notes = (f"features averaged over {probe.averaged}", *result.notes)
    return replace(result, settings=settings, notes=notes)


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


def pairs_of(names: Sequence[str], run: str | Path, **given: object) -> bool:
    """Whether a protocol of two encoders is asked for, which goes alone and without labels.

    Args:
        names: as asked for.
        run: of whose encoders.
        given: flag -> its value, of those that are for one encoder's features.

    Raises:
        UsageError: asked together with others, with such flags, or of what is no run.
    """
    pairs = [name for name in names if name in PAIR_PROTOCOLS]
    if not pairs:
        return False
    if len(names) > 1:
        raise UsageError(f"{pairs[0]} is of two encoders, and reads no labels. Ask for it alone.")
    asked = [f"--{name.replace('_', '-')} {value}" for name, value in given.items() if value]
    if asked:
        raise UsageError(f"{asked[0]} is for one encoder. Leave it out.")
    if not is_run(Path(run)):
        raise UsageError(f"{pairs[0]} is for a run directory, and {run} is none.")
    return True


def refuse_for_features(names: Sequence[str], **given: object) -> None:
    """What a file of features cannot answer."""
    asked = [f"--{name.replace('_', '-')} {value}" for name, value in given.items() if value]
    asked += [f"--protocol {name}" for name in names if name not in PROTOCOLS]
    if asked:
        raise UsageError(f"{asked[0]} is for encoders; a .npy holds features already.")
