"""Features of a whole data set, extracted once and kept on disk."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from manyviews.core import Failure, UsageError
from manyviews.core.files import atomic, write_array
from manyviews.core.sample import Unreadable
from manyviews.data.workers import each

log = logging.getLogger("manyviews")

Pixels = NDArray[np.uint8]


class Images(Protocol):
    """What is read from: every data source is one."""

    @property
    def digest(self) -> str:
        """Changes whenever the images do."""
        ...

    def __len__(self) -> int: ...

    def read(self, i: int, /) -> Pixels:
        """[H, W, C]; raises `Unreadable`."""
        ...


Prepare = Callable[[Sequence[Pixels]], Tensor]
"""uint8 images [H, W, C] of any sizes -> [B, C, S, S] float; `views.plain.Plain` is one."""


@dataclass(frozen=True)
class UnreadRow:
    """An image that could not be read: its row in the data set, where it lies, and why."""

    index: int
    path: str
    reason: str


@dataclass(frozen=True)
class Extracted:
    """Features of the readable images of a data set.

    Attributes:
        features: [N, D] or, at patch level, [N, T, D] float32, on the CPU.
        index: [N] int64, each row's position in the data set, increasing.
        bad: what could not be read and has no row.
    """

    features: Tensor
    index: Tensor
    bad: tuple[UnreadRow, ...] = ()


def extract(
    embed: Callable[[Tensor], Tensor],
    source: Images,
    plain: Prepare,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    workers: int = 0,
) -> Extracted:
    """Embed every readable image, in order.

    Args:
        embed: [B, C, S, S] on `device` -> [B, D] or [B, T, D] of any float type; in eval mode.
        source: the images.
        plain: makes a batch of them.
        batch_size: images at a time.
        device: where `embed` computes.
        progress: told (images done, images in all) after each batch.
        workers: processes that read and prepare batches ahead; 0 for none, which is best for
            images that are in memory already. The result is the same.

    Raises:
        Failure: no image could be read, or the encoder's output has a changing or a wrong shape.
    """
    if batch_size < 1:
        raise UsageError(f"The batch size is {batch_size}; wanted 1 or more.")
    reader = _Reader(source, plain, batch_size)
    out: Tensor | None = None
    bad: list[UnreadRow] = []
    index: list[int] = []
    with torch.inference_mode():
        for rows, pixels, broken in each(reader, range(len(reader)), workers=workers):
            bad.extend(broken)
            if pixels is not None:
                part = embed(pixels.to(device)).detach().float().cpu()
                out = _room(part, rows=len(source)) if out is None else out
                if part.shape != (len(rows), *out.shape[1:]):
                    raise Failure(
                        f"The encoder gave {tuple(part.shape)} for {len(rows)} images; wanted "
                        f"{(len(rows), *out.shape[1:])}."
                    )
                out[len(index) : len(index) + len(rows)] = part
                index.extend(rows)
            if progress is not None:
                progress(len(index) + len(bad), len(source))
    if out is None:
        why = f"; the first is {bad[0].path}: {bad[0].reason}" if bad else ""
        raise Failure(
            f"None of the {len(source)} images could be read{why}. Check them with "
            "`manyviews doctor`."
        )
    if bad:
        log.warning(
            "%d of %d images could not be read and have no features; the first is %s: %s",
            *(len(bad), len(source), bad[0].path, bad[0].reason),
        )
    return Extracted(out[: len(index)].clone() if bad else out, torch.tensor(index), tuple(bad))


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
        transform: says fully how an image becomes the encoder's input.
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


class _Reader:
    """Batch number -> rows that could be read, their pixels, and the rows that could not."""

    def __init__(self, source: Images, plain: Prepare, batch_size: int) -> None:
        self.source, self.plain, self.batch_size = source, plain, batch_size

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size)

    def __call__(self, number: int) -> tuple[list[int], Tensor | None, list[UnreadRow]]:
        start = number * self.batch_size
        images: list[Pixels] = []
        good: list[int] = []
        bad: list[UnreadRow] = []
        for i in range(start, min(start + self.batch_size, len(self.source))):
            try:
                images.append(self.source.read(i))
                good.append(i)
            except Unreadable as error:
                bad.append(UnreadRow(i, error.path, error.reason))
        return good, self.plain(images) if images else None, bad


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
