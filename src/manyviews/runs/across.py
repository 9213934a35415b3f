"""What `evaluate --protocol across` measures: whether a clip finds its own sound, and the reverse.

What is compared is what the method's loss compares, behind its heads, which a run's checkpoint
has. Of a method that compares nothing across its encoders, or of a run without a checkpoint, it is
the encoders' own outputs, and the result says which.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from manyviews.core import Failure, Method, UsageError, wide
from manyviews.core.progress import bar
from manyviews.core.sample import Source
from manyviews.core.settings import parts
from manyviews.data import loader
from manyviews.data.quarantine import Bad
from manyviews.data.sources import open_data
from manyviews.evaluation.across import across
from manyviews.evaluation.features import fingerprint
from manyviews.evaluation.result import Beside, Result
from manyviews.losses.contrastive import unit
from manyviews.methods import catalog
from manyviews.runs.assemble import readers
from manyviews.runs.at_step import step_of
from manyviews.runs.folder import read
from manyviews.runs.folder.paths import Paths
from manyviews.runs.subject import open_subject
from manyviews.runs.teachers import unloaded
from manyviews.training import checkpoint
from manyviews.views.by_input import Fed, plain
from manyviews.views.pipeline import Pipeline

log = logging.getLogger("manyviews")


@runtime_checkable
class Compares(Protocol):
    """A method that compares what its encoders make of one sample."""

    def compared(self, views: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Encoder name -> [B, P] of the plain views [B, ...] of each, as its loss compares them."""
        ...


@runtime_checkable
class Judges(Protocol):
    """One that compares them by something else than the cosine."""

    def alike(self, video: Tensor, audio: Tensor) -> Tensor:
        """[Q, P] and [N, P] -> [Q, N]: the more, the more alike."""
        ...


@dataclass(frozen=True)
class Pairing:
    """How samples of two encoders are compared.

    Attributes:
        embed: views by encoder -> [B, P] of each.
        alike: of all of the first's with all of the second's, as `Judges`.
        compared: which features they are, in words.
    """

    embed: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
    alike: Callable[[Tensor, Tensor], Tensor]
    compared: str


@dataclass(frozen=True, kw_only=True)
class PairTask:
    """What is asked for.

    Attributes:
        directory: of the run.
        data: of samples with both streams; no label is read.
        step: of a checkpoint, or "best"; "" for the newest.
        batch_size: samples at a time.
        max_pixels: larger pictures are unreadable.
        baselines: also measure the untrained method.
        device: where it computes.
    """

    directory: Path
    data: str
    step: str
    batch_size: int
    max_pixels: int
    baselines: bool
    device: torch.device


@dataclass(frozen=True)
class PairFound:
    """The result, the fingerprint of whose features, and a hash of the data."""

    result: Beside
    encoder: str
    content: str


def measure_across(task: PairTask) -> PairFound:
    """The protocol on a run.

    Raises:
        UsageError: it is no run, has not two encoders, or their outputs cannot be compared.
        Failure: too many samples cannot be read.
    """
    run = read.saved_run(task.directory)
    named = tuple(parts(run.encoders))
    if len(named) != 2:
        raise UsageError(
            f"across compares two encoders, and {task.directory} has {', '.join(named)}. "
            "Give a run of pictures with sound."
        )
    method, whole = _method(task)
    name = catalog.name_of(run.method)
    sides = {"": _side(method, name, heads=whole)}
    if task.baselines:
        sides["untrained"] = _side(_unloaded(task.directory).to(task.device), name, heads=whole)
    streams = tuple(dict.fromkeys(plan.of for plan in parts(run.views).values()))
    source = open_data(task.data, streams, channels=3, max_pixels=task.max_pixels)
    fixed = plain({name: Fed(e.input, e.grid) for name, e in method.encoders.items()})
    first, second = sorted(named, reverse=True)  # video, audio
    found: dict[str, Result] = {}
    for title, side in sides.items():
        rows = _embedded(side, source, fixed, task)
        alike = side.alike(rows[first], rows[second])
        found[title] = across(alike, (first, second), compared=side.compared)
    result = Beside(result=found.pop(""), beside=found)
    return PairFound(result, fingerprint(method), source.digest)


def _method(task: PairTask) -> tuple[Method, bool]:
    """A run's method with trained weights, and whether its heads have them too."""
    paths, method = Paths(task.directory), _unloaded(task.directory)
    kept = checkpoint.steps(paths.checkpoints)
    if any(kept):
        number = step_of(task.directory, task.step or str(max(kept)))
        checkpoint.load(checkpoint.path_of(paths.checkpoints, number), method=method)
        return method.to(task.device), True
    for name, encoder in method.encoders.items():
        trained = open_subject(task.directory, which=name).encoder
        encoder.load_state_dict(trained.state_dict())
    return method.to(task.device), False


def _unloaded(directory: Path) -> Method:
    samples = int(read.read_began(directory)["images"])
    return unloaded(read.saved_run(directory), samples=samples)


def _side(method: Method, name: str, *, heads: bool) -> Pairing:
    """What is compared of a method; without trained heads its encoders' outputs.

    Raises:
        UsageError: these are of different widths.
    """
    method.eval()
    if heads and isinstance(method, Compares):
        alike = method.alike if isinstance(method, Judges) else _cosines
        return Pairing(
            method.compared, alike, f"what the loss of {name} compares, behind its heads"
        )
    encoders = method.encoders
    if len({net.dim for net in encoders.values()}) > 1:
        dims = " and ".join(str(net.dim) for net in encoders.values())
        raise UsageError(
            f"The encoders make {dims} numbers, and {name} has no trained heads that bring them "
            "together. Give a run of a method that compares them, with its checkpoint."
        )

    def outputs(views: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {name: net(views[name], tokens=False).pooled for name, net in encoders.items()}

    return Pairing(outputs, _cosines, "the encoders' own outputs")


def _cosines(video: Tensor, audio: Tensor) -> Tensor:
    return unit(video) @ unit(audio).T


def _embedded(
    side: Pairing, source: Source, fixed: Pipeline, task: PairTask
) -> Mapping[str, Tensor]:
    """Encoder -> [N, P] float32 of all samples that can be read."""
    found: dict[str, list[Tensor]] = {}
    lost: list[Bad] = []
    with bar("embedding") as progress, torch.inference_mode():
        done = 0
        for raw in loader.once(
            source,
            fixed,
            range(len(source)),
            batch=task.batch_size,
            workers=readers(source),
            on_bad=lost.append,
        ):
            batch = fixed.finish(raw.views, raw.cues, raw.index, task.device)
            rows = side.embed({name: views[:, 0] for name, views in batch.views.items()})
            for name, x in rows.items():
                found.setdefault(name, []).append(wide(x))
            done += len(raw.index)
            progress(done, len(source))
    if not found:
        raise Failure(f"No sample of {task.data} can be read. Run `manyviews doctor {task.data}`.")
    if lost:
        log.warning(
            "%d of %d samples cannot be read and are left out; the first is %s: %s",
            len(lost), len(source), lost[0].path, lost[0].reason,
        )  # fmt: skip
    return {name: torch.cat(rows) for name, rows in found.items()}
