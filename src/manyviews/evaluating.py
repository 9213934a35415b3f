"""The verb `evaluate`: labelled protocols on anybody's features, beside what costs nothing."""

import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from torch import Tensor

from manyviews import probing, results
from manyviews.assemble import readers
from manyviews.bars import bar
from manyviews.config import nearest
from manyviews.core import Encoder, UsageError
from manyviews.evaluation import baselines as raw
from manyviews.evaluation import finetune as finetuning
from manyviews.evaluation import robustness as robust
from manyviews.evaluation.corruptions import CORRUPTIONS
from manyviews.evaluation.features import fingerprint
from manyviews.evaluation.protocols import PROTOCOLS
from manyviews.evaluation.recipe import FineTune
from manyviews.evaluation.result import Result
from manyviews.evaluation.stored import read_split
from manyviews.exporting import MAX_PIXELS, Embedder
from manyviews.keeping import cache_of, keep_result
from manyviews.probing import Cache, Embed, LabelledProbe, Split, Tell
from manyviews.subjects import open_subject, untrained
from manyviews.training import launch
from manyviews.views.plain import Plain

log = logging.getLogger("manyviews")

PIXELS = 1024
"""Raw pixels are compared as so many numbers an image at most: at 224 they would be 150,000."""


IMAGE_PROTOCOLS = {
    "finetune": "Train the whole encoder, or its last blocks, on the labels; AdamW as MAE does.",
    "robustness": "A probe of clean features on 15 corruptions at five severities.",
}
"""Protocols that need images, by name, each with a line about it."""


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """What is tried of `evaluation.robustness.robustness`.

    Attributes:
        probe: what is fitted to clean training features.
        corruptions: their names; all 15 where it is empty.
        severities: 1 to 5.
        limit: test images at most, evenly spread; 0 for all.
    """

    probe: Literal["knn", "linear"] = "knn"
    corruptions: tuple[str, ...] = ()
    severities: tuple[int, ...] = (1, 2, 3, 4, 5)
    limit: int = 500


def evaluate(
    run: str | Path,
    *,
    data: str,
    protocol: str | Sequence[str] = "knn",
    train_data: str = "",
    encoder: str = "",
    image_size: int = 0,
    test_features: str | Path | None = None,
    batch_size: int = 256,
    baselines: bool = True,  # noqa: FBT001, FBT002, RUF100 - keyword-only
    finetune: FineTune | None = None,
    robustness: Robustness | None = None,
    max_pixels: int = MAX_PIXELS,
) -> results.Evaluated:
    """Measure features with labels, beside raw pixels and the untrained encoder.

    Features are computed once and kept by content: in RUN/cache, or in the user's cache directory
    where there is no run. The results are also written to RUN/evaluation/. Where that cannot be
    done, a warning and `unsaved` of the outcome say why.

    Args:
        run: a run directory, an encoder.safetensors, `timm:NAME`, a checkpoint of another project
            with `encoder`, or a .npy of features (see `test_features`).
        data: LABELLED: a folder of class folders, a CSV of path,label, `fashion-mnist:DIR` or
            `builtin:fashion`.
        protocol: one or several names of `evaluation.protocols.PROTOCOLS` or `IMAGE_PROTOCOLS`.
        train_data: learn from the training part of this LABELLED instead, and test on `data`'s
            test part (transfer). Classes are matched by name.
        encoder: timm's name of the architecture of a checkpoint.
        image_size: side for timm models and checkpoints; 0 takes their own.
        test_features: with a .npy of the training part's features as `run`, the .npy of the test
            part's; rows in the order of `data`. Without it the .npy needs the .json that `embed`
            writes beside it, and rows are matched by path.
        batch_size: images at a time.
        baselines: also measure raw pixels, mean-centred raw pixels and the untrained encoder.
        finetune: how the protocol of that name trains.
        robustness: what the protocol of that name tries.
        max_pixels: larger images are unreadable.
    """
    names = _names(protocol)
    if str(run).endswith(".npy"):
        _refuse_for_features(names, encoder=encoder, image_size=image_size, train_data=train_data)
        second = Path(test_features) if test_features is not None else None
        stored = Split(*read_split(Path(run), second, data=data, max_pixels=max_pixels))
        found = [results.Beside(result=PROTOCOLS[name](*stored), beside={}) for name in names]
        return results.Evaluated(run=str(run), data=data, found=found)
    if test_features is not None:
        raise UsageError("--test-features goes with a .npy of training features as RUN.")
    device = launch.device()
    subject = open_subject(run, encoder=encoder, image_size=image_size).to(device)
    probe = probing.open_probe(
        data, subject.plain, max_pixels=max_pixels, device=device, train_spec=train_data
    )
    mark, cache = fingerprint(subject), cache_of(run)
    content = _content(probe, cache) if Path(run).is_dir() else ""
    sides = _sides(probe, subject, cache=cache, batch_size=batch_size)
    if not baselines:
        sides = {"": sides[""]}
    told = {"data": data} | ({"train_data": train_data} if train_data else {})
    tests: dict[str, Callable[[_Side], Result | None]] = {
        "finetune": lambda side: _finetuned(side, probe, finetune or FineTune()),
        "robustness": lambda side: _spoilt(side, probe, robustness or Robustness()),
    }
    found: list[results.Beside] = []
    unkept: list[str] = []
    for name in names:
        test = tests.get(name, lambda side, name=name: PROTOCOLS[name](*side.split()))
        all_found = {title: test(side) for title, side in sides.items()}
        beside = {title: r for title, r in all_found.items() if title and r is not None}
        found.append(results.Beside(result=cast(Result, all_found[""]), beside=beside))
        why = keep_result(run, found[-1], told, encoder=mark, content=content)
        unkept += [why] if why else []
    unsaved = f"{unkept[0]} {len(unkept)} of {len(names)} results are not kept." if unkept else ""
    if unsaved:
        log.warning("%s", unsaved)
    return results.Evaluated(run=str(run), data=data, found=found, content=content, unsaved=unsaved)


@dataclass(frozen=True)
class _Side:
    """The features in question, or what they are compared with.

    Attributes:
        embed: normalised images [B, C, S, S] -> [B, D].
        plain: the view that it takes.
        split: features of both parts, extracted once.
        network: what can be fine-tuned; None for raw pixels.
    """

    embed: Embed
    plain: Plain
    split: Callable[[], Split]
    network: Encoder | None


def _finetuned(side: _Side, probe: LabelledProbe, settings: FineTune) -> Result | None:
    """None for raw pixels, which have no weights to tune."""
    if side.network is None:
        return None
    with bar("fine-tuning") as progress:
        return finetuning.finetune(
            side.network,
            probe.train,
            probe.test,
            plain=side.plain,
            settings=settings,
            device=probe.device,
            progress=progress,
            workers=readers(probe.train.source),
        )


def _spoilt(side: _Side, probe: LabelledProbe, settings: Robustness) -> Result:
    split = side.split()
    with bar("corrupting") as progress:
        return robust.robustness(
            side.embed,
            split.train_x,
            split.train_y,
            probe.test,
            plain=side.plain,
            probe=settings.probe,
            corruptions=settings.corruptions or tuple(CORRUPTIONS),
            severities=settings.severities,
            limit=settings.limit,
            device=probe.device,
            workers=readers(probe.test.source),
            progress=progress,
        )


def _names(protocol: str | Sequence[str]) -> list[str]:
    names = [protocol] if isinstance(protocol, str) else list(dict.fromkeys(protocol))
    if not names:
        known = ", ".join([*PROTOCOLS, *IMAGE_PROTOCOLS])
        raise UsageError(f"No protocol was given. Known: {known}.")
    for name in names:
        if name not in {**PROTOCOLS, **IMAGE_PROTOCOLS}:
            known = [*PROTOCOLS, *IMAGE_PROTOCOLS]
            raise UsageError(f"protocol is '{name}'. {nearest(name, known)}")
    return names


def _sides(
    probe: LabelledProbe, subject: Embedder, *, cache: Cache, batch_size: int
) -> dict[str, _Side]:
    """Name -> features to measure; "" is those in question, the others no training has touched."""
    view = subject.plain
    side = min(view.size, math.isqrt(PIXELS // view.channels) or 1)
    small = Plain(side, channels=view.channels, mean=view.mean, std=view.std)
    pixels = raw.pixels(view.mean, view.std)
    random = untrained(subject).to(probe.device)

    def of(network: Embedder) -> _Side:
        key = replace(cache, encoder=f"{fingerprint(network)} {network.config} fp32")
        split = _once(
            lambda tell: probe.split(network, batch_size=batch_size, cache=key, progress=tell)
        )
        return _Side(network, view, split, network.encoder)

    def raw_split(tell: Tell) -> Split:
        key = replace(cache, encoder="pixels")
        return probe.split(pixels, plain=small, batch_size=batch_size, cache=key, progress=tell)

    raw_once = _once(raw_split)

    def centred() -> Split:
        split = raw_once()
        train_x, test_x = raw.centred(split.train_x, split.test_x)
        return Split(train_x, split.train_y, test_x, split.test_y)

    def less_mean(x: Tensor) -> Tensor:
        return pixels(x) - raw_once().train_x.double().mean(dim=0).float().to(x.device)

    return {
        "": of(subject),
        "raw pixels": _Side(pixels, small, raw_once, None),
        "centred pixels": _Side(less_mean, small, centred, None),
        "untrained encoder": of(random),
    }


def _content(probe: LabelledProbe, cache: Cache) -> str:
    with bar("reading") as progress:
        return probe.content(cache=cache.directory, progress=progress)


def _once(compute: Callable[[Tell], Split]) -> Callable[[], Split]:
    """The same features each time they are asked for, computed the first time."""

    @functools.cache
    def split() -> Split:
        with bar("embedding") as progress:
            return compute(progress)

    return split


def _refuse_for_features(names: Sequence[str], **given: str | int) -> None:
    """What a file of features cannot answer."""
    asked = [f"--{name.replace('_', '-')} {value}" for name, value in given.items() if value]
    asked += [f"--protocol {name}" for name in names if name in IMAGE_PROTOCOLS]
    if asked:
        raise UsageError(f"{asked[0]} is for encoders; a .npy holds features already.")
