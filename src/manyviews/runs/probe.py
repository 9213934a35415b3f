"""Labelled data beside a run: evaluated during training if asked, never seen by it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from manyviews.core import Clock, Method, UsageError
from manyviews.core.inputs import Input, image_channels
from manyviews.core.progress import once_each
from manyviews.evaluation.features import Cache, Embed, cached, extract, said
from manyviews.evaluation.identity import content
from manyviews.evaluation.labelled import Labelled, open_labelled
from manyviews.evaluation.protocols import PROTOCOLS
from manyviews.evaluation.result import Result
from manyviews.runs.assemble import embed_with, readers
from manyviews.views.by_input import plain_of
from manyviews.views.pipeline import Pipeline

log = logging.getLogger("manyviews")

Tell = Callable[[int, int], None]


class SplitFeatures(NamedTuple):
    """What a protocol is given: features [N, D] and labels [N] to learn from, and to be tested."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


class LabelledProbe:
    """A labelled data set in two parts, and the view that an encoder sees of it.

    Args:
        train: what classifiers learn from.
        test: what they are tested on.
        input: what the encoder is fed.
        device: where the encoder is.
        protocols: what runs during training.
        name: of the encoder, of a method with several.
        clips: of each sample that features are averaged over; see `views.by_input.plain_of`.
        crops: of each of them, likewise.

    Attributes:
        last: the results of the last call during training.
        warn: told of what cannot be read, each line once however often the samples are.
    """

    def __init__(
        self,
        train: Labelled,
        test: Labelled,
        input: Input,
        *,
        device: torch.device,
        protocols: tuple[str, ...] = ("knn",),
        name: str = "",
        clips: int = 1,
        crops: int = 1,
    ) -> None:
        self.clips, self.crops = clips, crops
        self.train, self.test, self.input = train, test, input
        self.device, self.protocols, self.name = device, protocols, name
        self.last: list[Result] = []
        self.warn = once_each(log.warning)

    def split(
        self,
        embed: Embed,
        *,
        batch_size: int = 256,
        input: Input | None = None,
        cache: Cache | None = None,
        progress: Tell | None = None,
    ) -> SplitFeatures:
        """Features and labels of both parts, extracted once if there is a cache.

        Args:
            embed: what the encoder is fed, [B, *shape] -> [B, D].
            batch_size: samples at a time.
            input: what it is fed, where that is not the probe's own.
            cache: where to look first.
            progress: told (samples done, samples in all), of each part.
        """
        fed = input or self.input
        fixed = self.fixed(fed)

        def features(part: Labelled) -> tuple[Tensor, Tensor]:
            def compute():
                return extract(
                    embed,
                    part.source,
                    fixed,
                    batch_size=batch_size,
                    device=self.device,
                    progress=progress,
                    workers=readers(part.source),
                    warn=self.warn,
                )

            if cache is None:
                found = compute()
            else:
                found = cached(
                    cache.directory,
                    encoder=cache.encoder,
                    source=part.source.digest,
                    transform=said(fed) + self.averaged,
                    compute=compute,
                    warn=cache.warn,
                )
            return found.features, part.labels[found.index]

        return SplitFeatures(*features(self.train), *features(self.test))

    @property
    def averaged(self) -> str:
        """Of how many views features are the mean; "" of one."""
        if self.clips * self.crops == 1:
            return ""
        return f"{self.clips} clips x {self.crops} crops"

    def fixed(self, input: Input | None = None) -> Pipeline:
        """Makes the views that features are averaged over, of the probe's own input or another."""
        return plain_of(input or self.input, clips=self.clips, crops=self.crops)

    def content(self, *, cache: Path | None = None, progress: Tell | None = None) -> str:
        """A hash of all samples and labels; see `evaluation.identity`."""
        return content(self.train, self.test, cache=cache, progress=progress)

    def measure(self, embed: Embed, names: Sequence[str], *, batch_size: int = 256) -> list[Result]:
        """Several protocols on features that are extracted once."""
        split = self.split(embed, batch_size=batch_size)
        return [PROTOCOLS[name](*split) for name in names]

    def __call__(self, method: Method, clock: Clock) -> Mapping[str, float]:
        """What the training loop asks for: protocol -> headline."""
        encoder = method.encoders[self.name] if self.name else method.encoder
        self.last = self.measure(embed_with(encoder, self.device), self.protocols)
        return {result.protocol: result.value for result in self.last}


class Probes(dict[str, LabelledProbe]):
    """The probe of each encoder of a run, by name; "" of the only one."""

    def __call__(self, method: Method, clock: Clock) -> Mapping[str, float]:
        """What the training loop asks for: protocol, or "protocol/encoder" -> headline."""
        return {
            of_encoder(key, name): value
            for name, probe in self.items()
            for key, value in probe(method, clock).items()
        }


def of_encoder(key: str, name: str) -> str:
    """What a number is called in metrics, where there are several encoders and where not."""
    return f"{key}/{name}" if name else key


def open_probe(
    spec: str,
    input: Input,
    *,
    max_pixels: int,
    device: torch.device,
    linear: bool = False,
    train_spec: str = "",
    name: str = "",
    clips: int = 1,
    crops: int = 1,
) -> LabelledProbe:
    """Open both parts of LABELLED.

    Args:
        spec: a folder of class folders, a CSV of path,label, fashion-mnist:DIR, builtin:fashion.
        input: what the encoder is fed; it says which stream of the samples is read.
        max_pixels: larger images are unreadable.
        device: where the encoder is.
        linear: measure a linear probe too while training.
        train_spec: learn from this data's training part instead (transfer); classes are matched
            by name.
        name: of the encoder, of a method with several.
        clips: as `LabelledProbe`.
        crops: likewise.

    Raises:
        UsageError: there is no such data, or its labels cannot be used.
    """
    streams = plain_of(input, clips=clips, crops=crops).streams

    def part(spec: str, split: Literal["train", "test"]) -> Labelled:
        return open_labelled(
            spec,
            channels=image_channels(input),
            max_pixels=max_pixels,
            split=split,
            streams=streams,
        )

    train, test = part(train_spec or spec, "train"), part(spec, "test")
    if train_spec:
        test = _renumbered(test, train, spec=spec, train_spec=train_spec)
    _check_classes(train, test, spec)
    protocols = ("knn", "linear") if linear else ("knn",)
    return LabelledProbe(
        train,
        test,
        input,
        device=device,
        protocols=protocols,
        name=name,
        clips=clips,
        crops=crops,
    )


def _check_classes(train: Labelled, test: Labelled, spec: str) -> None:
    """Refuse a test class without training examples, by its name."""
    if train.several:
        return
    unseen = sorted(set(test.labels.tolist()) - set(train.labels.tolist()))
    if unseen:
        raise UsageError(
            f"{spec} tests {len(unseen)} classes that no training sample has (first: "
            f"{test.classes[unseen[0]]!r}). Move some of them to the training part, or leave "
            "them out."
        )


def _renumbered(test: Labelled, train: Labelled, *, spec: str, train_spec: str) -> Labelled:
    """The test part with the training part's class numbers.

    Raises:
        UsageError: a class that is tested was not there to learn from.
    """
    unknown = sorted(set(test.classes) - set(train.classes))
    if unknown:
        raise UsageError(
            f"{len(unknown)} of the {len(test.classes)} classes of {spec} are not among those of "
            f"{train_spec} (first: {unknown[0]!r}). Name them alike, or leave out --train-data."
        )
    number = torch.tensor([train.classes.index(name) for name in test.classes])
    if test.several:
        labels = test.labels.new_zeros(len(test), len(train.classes))
        labels[:, number] = test.labels
    else:
        labels = number[test.labels]
    return replace(test, labels=labels, classes=train.classes)
