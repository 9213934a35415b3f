"""Loss weights that short trainings find, by what can be measured without labels."""

import json
import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from manyviews.core import Failure, UsageError, comm
from manyviews.core.files import atomic, read_lines
from manyviews.core.in_words import InWords
from manyviews.core.inputs import image_channels
from manyviews.core.settings import check
from manyviews.data.sources import open_data
from manyviews.diagnosis.zipf import zipf_divergence
from manyviews.evaluation.features import extract
from manyviews.runs.assemble import assemble, embed_with, readers
from manyviews.runs.folder.lock import RunDirectory
from manyviews.runs.settings import AnyRun
from manyviews.training import evolution
from manyviews.training.evolution import LossWeights, Tried
from manyviews.training.job import Job
from manyviews.training.loop import fit
from manyviews.views.by_input import plain_of

log = logging.getLogger("manyviews")

_SHOWN = 5
"""Candidates that people are shown, the best ones."""


@dataclass(frozen=True, kw_only=True)
class Evolved(InWords):
    """What a search over loss weights found.

    Attributes:
        names: of the weights.
        found: all candidates, the best first.
        out: where they are written down.
        command: what trains with the best of them.
    """

    names: tuple[str, ...]
    found: Sequence[Tried] = field(default_factory=list[Tried])
    out: str = ""
    command: str = ""

    @property
    def ones(self) -> Tried:
        """The candidate of which all weights are 1."""
        return next(one for one in self.found if set(one.weights) == {1.0})

    def lines(self) -> list[str]:
        """For people."""
        best = self.found[:_SHOWN]
        beside = [] if self.ones in best else [self.ones]
        rows = [f"{one.fitness:10.4f}  {_numbers(one.weights)}" for one in [*best, *beside]]
        return [
            f"divergence  {' '.join(self.names)}",
            *rows,
            f"all {len(self.found)} candidates: {self.out}",
            f"train with the best: {self.command}",
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        found = [vars(one) | {"weights": list(one.weights)} for one in self.found]
        return {"names": list(self.names), "found": found, "command": self.command}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How a candidate is tried: trained for some steps, then measured.

    Attributes:
        run: what is trained, with its duration.
        held: data that features are measured on.
        which: the encoder that is measured.
        sample: of so many samples at most.
        clusters: see `diagnosis.zipf`.
    """

    run: AnyRun
    held: str
    which: str
    sample: int
    clusters: int

    def __call__(self, weights: LossWeights) -> float:
        """The divergence of features from Zipf's law; infinite where training came to nothing.

        Raises:
            Failure: training was interrupted.
        """
        method: Any = replace(self.run.method, weights=weights)
        run = replace(self.run, method=method)
        check(run)
        with tempfile.TemporaryDirectory() as folder, RunDirectory(Path(folder) / "run") as opened:
            assembly = assemble(run)
            job = Job(
                method=assembly.method,
                optim=run.optim,
                train=run.train,
                seed=run.seed,
                batch_size=run.data.batch_size,
                steps_per_epoch=assembly.steps_per_epoch,
                batches=assembly.batches(),
                directory=opened,
                device=assembly.device,
                embed_all=assembly.embed_all,
                tensorboard=False,
                progress=False,
            )
            try:
                outcome = fit(job)
            except UsageError:
                raise
            except Failure as failure:
                log.warning("Weights %s came to nothing: %s", weights, failure)
                return math.inf
            if outcome.status != "done":
                raise Failure("The search was interrupted. The same command goes on with it.")
            return self._measured(assembly.method.encoders[self.which], assembly.device)

    def _measured(self, encoder: Any, device: torch.device) -> float:
        fixed = plain_of(encoder.input)
        source = open_data(
            self.held,
            fixed.streams,
            channels=image_channels(encoder.input),
            max_pixels=self.run.data.max_pixels,
        )
        rows = min(len(source), self.sample)
        drawn = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))[:rows]
        seen = extract(
            embed_with(encoder, device),
            source,
            fixed,
            rows=drawn.sort().values.tolist(),
            device=device,
            workers=readers(source),
        )
        if not seen.features.isfinite().all():
            return math.inf
        return zipf_divergence(seen.features, clusters=min(self.clusters, len(seen.features)))


def evolve(
    trial: Trial, names: Sequence[str], out: Path, *, told: Mapping[str, Any], **search: Any
) -> list[Tried]:
    """Search, and write down every candidate in `out` as soon as it was tried.

    Candidates that stand there already are not tried again, so that a search that was interrupted
    goes on.

    Args:
        trial: what makes weights good.
        names: of the weights.
        out: a file of a line each; the first says what of.
        told: what that is.
        search: see `training.evolution.search`.

    Raises:
        UsageError: `out` holds another search, or what is none.
        Failure: no candidate came to anything.
    """
    records = _records(out, told)
    known = {tuple(one["weights"]): one["fitness"] for one in records[1:]}

    def fitness(weights: LossWeights) -> float:
        if weights not in known:
            return trial(weights)
        return math.inf if known[weights] is None else known[weights]

    def keep(one: Tried) -> None:
        log.info("%s: divergence %.4f", _numbers(one.weights), one.fitness)
        if one.weights not in known and comm.rank() == 0:
            known[one.weights] = one.fitness
            records.append(vars(one))
            _write(out, records)

    _write(out, records)
    found = evolution.search(fitness, len(names), told=keep, **search)
    if math.isinf(found[0].fitness):
        raise Failure("No candidate came to anything. Train one by itself to see why.")
    return found


def _numbers(weights: LossWeights) -> str:
    return " ".join(f"{w:.3f}" for w in weights)


def _records(out: Path, told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What stands in `out`, or where there is no such file what a new one begins with."""
    if not out.exists():
        return [dict(told)]
    found: list[Mapping[str, Any]] = [*read_lines(out)]
    first = found[0] if found else {}
    for name, value in told.items():
        if first.get(name) != value:
            raise UsageError(
                f"{out} holds another search: {name} is {first.get(name)} there, and {value} was "
                "asked for. Choose another --out."
            )
    return [first, *(one for one in found[1:] if {"weights", "fitness"} <= set(one))]


def _write(out: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """The whole file, or what was there before."""
    with atomic(out) as draft:
        draft.write_text("".join(f"{json.dumps(_strict(one))}\n" for one in records), "ascii")


def _strict(record: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no number for infinite."""
    endless = record.get("fitness") == math.inf
    return {**record, "fitness": None} if endless else dict(record)
