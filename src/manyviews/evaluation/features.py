"""Features of a whole data set, extracted once and kept on disk."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from manyviews.core import Failure, UsageError
from manyviews.core.files import atomic, write_array
from manyviews.core.inputs import Input, Pixels
from manyviews.core.sample import Source
from manyviews.data.direct import made, opened
from manyviews.data.workers import each
from manyviews.views.pipeline import Pipeline

log = logging.getLogger("manyviews")

Embed = Callable[[Tensor], Tensor]
"""What an encoder is fed, [B, *shape], to features [B, D]."""


@dataclass(frozen=True)
class UnreadRow:
    """A sample that could not be read: its row in the data set, where it lies, and why."""

    index: int
    path: str
    reason: str


@dataclass(frozen=True)
class Extracted:
    """Features of the readable samples of a data set.

    Attributes:
        features: [N, D] or, at patch level, [N, T, D] float32, on the CPU.
        index: [N] int64, each row's position in the data set, increasing.
        bad: what could not be read and has no row.
    """

    features: Tensor
    index: Tensor
    bad: tuple[UnreadRow, ...] = ()


def extract(
    embed: Embed,
    source: Source,
    pipeline: Pipeline,
    *,
    rows: Sequence[int] | None = None,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    workers: int = 0,
    warn: Callable[[str], object] = log.warning,
) -> Extracted:
    """Embed every readable sample, in order.

    Args:
        embed: [B, *shape] on `device`, as the encoder is fed -> [B, D] or [B, T, D] of any float
            type; in eval mode.
        source: the samples.
        pipeline: makes the views of each, by its only family; `views.by_input.plain_of` makes
            those of evaluation. A sample's features are the mean over its views.
        rows: positions in the source, of what is embedded; None for all.
        batch_size: views at a time, which are samples where each has one.
        device: where `embed` computes.
        progress: told (samples done, samples in all) after each batch.
        workers: processes that read and make views ahead; 0 for none, which is best for images
            that are in memory already. The result is the same.
        warn: told how many could not be read; the same line each time that they are read again.

    Raises:
        Failure: nothing could be read, or the encoder's output has a changing or a wrong shape.
        UsageError: tokens [B, T, D] would be averaged over views, which show other places.
    """
    if batch_size < 1:
        raise UsageError(f"The batch size is {batch_size}; wanted 1 or more.")
    wanted = range(len(source)) if rows is None else rows
    what = "images" if source.streams == ("image",) else "files"
    [layout] = pipeline.makes.values()
    reader = _Reader(source, pipeline, wanted, max(1, batch_size // layout.count))
    device = torch.device(device)
    out: Tensor | None = None
    bad: list[UnreadRow] = []
    index: list[int] = []
    with torch.inference_mode():
        for good, raw, broken in each(reader, range(len(reader)), workers=workers):
            bad.extend(broken)
            if good:
                [views] = pipeline.finish(raw, {}, torch.tensor(good), device).views.values()
                part = _averaged(embed, views, batch_size)
                out = _room(part, rows=len(wanted)) if out is None else out
                if part.shape != (len(good), *out.shape[1:]):
                    raise Failure(
                        f"The encoder gave {tuple(part.shape)} for {len(good)} {what}; wanted "
                        f"{(len(good), *out.shape[1:])}."
                    )
                out[len(index) : len(index) + len(good)] = part
                index.extend(good)
            if progress is not None:
                progress(len(index) + len(bad), len(wanted))
    if out is None:
        why = f"; the first is {bad[0].path}: {bad[0].reason}" if bad else ""
        raise Failure(
            f"None of the {len(wanted)} {what} could be read{why}. Check them with "
            "`manyviews doctor`."
        )
    if bad:
        warn(
            f"{len(bad)} of {len(wanted)} {what} could not be read and have no features; the first "
            f"is {bad[0].path}: {bad[0].reason}"
        )
    return Extracted(out[: len(index)].clone() if bad else out, torch.tensor(index), tuple(bad))


def said(input: Input) -> str:
    """All of how a sample becomes what an encoder is fed, for `cached`."""
    if isinstance(input, Pixels):
        return repr((input.side, input.channels, input.mean, input.std))
    return repr(input)


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and values of a module's state."""
    total = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        total.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        total.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()


def cached(
    directory: Path,
    *,
    encoder: str,
    source: str,
    transform: str,
    compute: Callable[[], Extracted],
    warn: Callable[[str], object] = log.warning,
) -> Extracted:
    """The features under `directory`, computed and stored if they are not there.

    Args:
        directory: RUN/cache; made if missing.
        encoder: fingerprint of the weights, with the precision and level if those vary.
        source: digest of the data.
        transform: says fully how a sample becomes the encoder's input; see `said`.
        compute: called when the cache has nothing for this key, or something broken.
        warn: told why features could not be kept; the same line for all that lie there.

    Returns:
        As `compute`; features from disk are memory-mapped (written to, they change in memory
        only). A cache that cannot be written costs a warning, not the evaluation.
    """
    key = hashlib.sha256("\0".join(["1", encoder, source, transform]).encode()).hexdigest()[:24]
    data, note = directory / f"features-{key}.npy", directory / f"features-{key}.json"
    found = _load(data, note)
    if found is not None:
        return found
    fresh = compute()
    try:
        _store(fresh, data, note)
    except Failure as error:
        with contextlib.suppress(OSError):
            data.unlink()  # without its note it only takes room
        reason = getattr(error.__cause__, "strerror", None) or error
        warn(f"The features are not kept in {directory} for next time: {reason}.")
    return fresh


def _store(fresh: Extracted, data: Path, note: Path) -> None:
    write_array(data, fresh.features.numpy())
    said = {
        "shape": list(fresh.features.shape),
        "index": fresh.index.tolist(),
        "bad": [[b.index, b.path, b.reason] for b in fresh.bad],
    }
    with atomic(note) as path:  # written last: what it describes is whole
        path.write_text(json.dumps(said), encoding="ascii")


def _load(data: Path, note: Path) -> Extracted | None:
    try:
        said = json.loads(note.read_text(encoding="ascii"))
        array = np.load(data, mmap_mode="c", allow_pickle=False)
        bad = tuple(UnreadRow(int(i), str(path), str(reason)) for i, path, reason in said["bad"])
        index = torch.tensor(said["index"], dtype=torch.int64)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        log.warning("The cached features %s are broken (%s); extracting again.", data.name, error)
        return None
    if list(array.shape) != said.get("shape") or len(index) != len(array):
        log.warning("The cached features %s are incomplete; extracting again.", data.name)
        return None
    return Extracted(torch.from_numpy(array), index, bad)


def _room(part: Tensor, *, rows: int) -> Tensor:
    if part.ndim not in (2, 3):
        raise Failure(
            f"The encoder gave features of shape {tuple(part.shape)}; wanted [B, D], or [B, T, D] "
            "at patch level."
        )
    return torch.empty(rows, *part.shape[1:])


def _averaged(embed: Embed, views: Tensor, batch_size: int) -> Tensor:
    """[B, D] float32 on the CPU: each sample's mean over its V views [B, V, *shape]."""
    samples, count = views.shape[:2]
    if count == 1:
        return embed(views[:, 0]).detach().float().cpu()
    each = torch.cat([embed(x).detach().float() for x in views.flatten(0, 1).split(batch_size)])
    if each.ndim > 2:
        raise UsageError(
            f"Tokens of {count} clips or crops of a sample are of other places and have no mean. "
            "Leave out --clips and --crops."
        )
    return each.unflatten(0, (samples, count)).mean(dim=1).cpu()


class _Reader:
    """Batch number -> rows that could be read, their raw views, and the rows that could not."""

    def __init__(
        self, source: Source, pipeline: Pipeline, rows: Sequence[int], batch_size: int
    ) -> None:
        self.source, self.pipeline = source, pipeline
        self.rows, self.batch_size = rows, batch_size

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __call__(self, number: int) -> tuple[list[int], dict[str, Tensor], list[UnreadRow]]:
        start = number * self.batch_size
        part = self.rows[start : start + self.batch_size]
        items, bad = opened(self.source, self.pipeline, part)
        views, _ = made(self.pipeline, items)
        raw = {name: torch.from_numpy(view) for name, view in views.items()}
        return list(items), raw, [UnreadRow(i, e.path, e.reason) for i, e in bad.items()]


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Where features are kept.

    Attributes:
        directory: made if missing.
        encoder: what tells one encoder's features from another's.
        warn: told why features could not be kept.
    """

    directory: Path
    encoder: str = ""
    warn: Callable[[str], object] = log.warning
