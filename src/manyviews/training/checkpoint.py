"""Checkpoints that are whole or absent, verified when read, and never unpickled.

A checkpoint is a directory `step_N` with `method.safetensors`, `optimizer.safetensors`,
`state.json`, where monitors keep tensors `monitors.safetensors`, and `manifest.json` (size and
SHA-256 of the others). It is written under a temporary
name, synced and renamed, so a directory with the final name is complete. The file `latest` names
the newest one.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shlex
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from manyviews import __version__
from manyviews.core import Failure, UsageError

_METHOD, _OPTIMIZER, _STATE = "method.safetensors", "optimizer.safetensors", "state.json"
_MONITORS = "monitors.safetensors"
_MANIFEST, _LATEST = "manifest.json", "latest"
_NAME = re.compile(r"step_(\d+)")

SPREAD, ROOM = 8, 10**9
"""Earlier checkpoints that stay beside the newest, and bytes that all together may take."""

log = logging.getLogger("manyviews")


class Damaged(Exception):
    """A checkpoint's files are not those that were written."""


def save(
    folder: Path,
    *,
    step: int,
    method: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
    keep: int,
    monitors: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write `folder/step_N`, make it the latest, then delete old ones.

    Args:
        folder: holds all checkpoints of a run; made if missing.
        step: optimiser steps done.
        method: its state dict is written.
        optimizer: its state is written under the names of the method's parameters.
        state: anything else, as JSON.
        keep: newest checkpoints to leave, this one included; from 2 on earlier ones stay too, see
            `spread_of`.
        monitors: tensors that are neither the method's nor the optimiser's.

    Raises:
        OSError: the disk is full or failing. Earlier checkpoints are untouched.
    """
    final = path_of(folder, step)
    draft = folder / f"{final.name}.tmp-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
        _write_tensors(draft / _METHOD, method.state_dict())
        _write_tensors(draft / _OPTIMIZER, _flatten(method, optimizer))
        if monitors:
            _write_tensors(draft / _MONITORS, monitors)
        whole = {**state, "step": step, "optimizer": type(optimizer).__name__}
        _write_text(draft / _STATE, json.dumps(whole, indent=1))
        manifest = {
            "manyviews": __version__,
            "torch": torch.__version__,
            "files": {p.name: _describe(p) for p in sorted(draft.iterdir())},
        }
        _write_text(draft / _MANIFEST, json.dumps(manifest, indent=1))
        sync(draft)
        if final.exists():
            final.rename(folder / f"{final.name}.tmp-{uuid.uuid4().hex[:8]}")
        draft.rename(final)
        sync(folder)
        _point(folder, final.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _prune(folder, step=step, keep=keep)
    return final


def steps(folder: Path) -> list[int]:
    """The steps of all complete checkpoints, in order; none of them is verified."""
    return sorted(step_of(path) for path in _candidates(folder))


def latest(folder: Path) -> Path | None:
    """The newest checkpoint that verifies, or None if there never was one.

    What does not verify is renamed to `step_N.damaged-...`, said loudly, and the one before it
    is tried.

    Raises:
        Failure: there are checkpoints and none of them verifies.
    """
    candidates = _candidates(folder)
    for path in candidates:
        try:
            verify(path)
        except Damaged as damage:
            aside = path.with_name(f"{path.name}.damaged-{uuid.uuid4().hex[:8]}")
            path.rename(aside)
            log.error("Checkpoint %s: moved to %s, going back to the one before.", damage, aside)
        else:
            return path
    if candidates:
        raise Failure(
            f"Every checkpoint in {folder} is damaged. Restore one from a backup, or train anew "
            "with another --out."
        )
    return None


def exists(folder: Path) -> bool:
    """Whether the folder holds any checkpoint, good or not."""
    return bool(_candidates(folder))


def refuse_second(run: Path, folder: Path) -> None:
    """Refuse to begin a run where there is one.

    Args:
        run: the run directory, for the message.
        folder: of its checkpoints.

    Raises:
        UsageError: the folder holds one.
    """
    if exists(folder):
        raise UsageError(
            f"{run} already holds a run. Continue it with `manyviews resume "
            f"{shlex.quote(str(run))}`, or choose another --out."
        )


def newest(folder: Path) -> Path | None:
    """The checkpoint that `latest` would try first; nothing is verified or mended."""
    return next(iter(_candidates(folder)), None)


def noted(path: Path) -> str:
    """The hash of a checkpoint's weights, from its list of files; "" where that is damaged."""
    try:
        listed = json.loads((path / _MANIFEST).read_text())["files"]
        return str(listed[_METHOD]["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step_{step}"


def step_of(path: Path) -> int:
    """The step of a checkpoint's path."""
    return int(path.name.removeprefix("step_"))


def verify(path: Path) -> None:
    """Compare every file with the manifest.

    Raises:
        Damaged: naming the file, and how it differs.
    """
    try:
        files = json.loads((path / _MANIFEST).read_text())["files"]
        for name, wanted in files.items():
            found = _describe(path / name)
            if found != wanted:
                key = "bytes" if found["bytes"] != wanted["bytes"] else "sha256"
                raise Damaged(f"{path / name} has {key} {found[key]}, not {wanted[key]}")
        if not {_METHOD, _OPTIMIZER, _STATE} <= set(files):
            raise Damaged(f"{path / _MANIFEST} does not list all files")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{path} cannot be read ({error})") from error


def load(
    path: Path, *, method: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> dict[str, Any]:
    """Put a verified checkpoint into a freshly built method and optimiser; return its state.

    Raises:
        Failure: the checkpoint is of another method, encoder or optimiser.
    """
    found, own = _read_tensors(path / _METHOD), method.state_dict()
    odd = sorted(set(found) ^ set(own)) or [n for n in own if own[n].shape != found[n].shape]
    if odd:
        raise Failure(
            f"{path / _METHOD} does not fit this configuration: {odd[0]} differs. "
            "Resume with the configuration the run began with, or train anew with another --out."
        )
    method.load_state_dict(found)
    state = json.loads((path / _STATE).read_text())
    if optimizer is not None:
        kind = type(optimizer).__name__
        if state["optimizer"] != kind:
            raise Failure(
                f"{path} was written with the optimiser {state['optimizer']}, not {kind}. "
                "Resume with the configuration the run began with."
            )
        _unflatten(_read_tensors(path / _OPTIMIZER), method, optimizer, path)
    return state


def monitors(path: Path) -> dict[str, Tensor]:
    """Tensors that monitors left in a verified checkpoint; those of 0.1.0 have none."""
    return _read_tensors(path / _MONITORS) if (path / _MONITORS).is_file() else {}


def sweep(folder: Path) -> None:
    """Delete what killed processes left half-written."""
    for path in folder.glob("step_*.tmp-*"):
        shutil.rmtree(path, ignore_errors=True)


def sync(path: Path) -> None:
    """Make a file's content, or a directory's entries, survive a power cut."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _candidates(folder: Path) -> list[Path]:
    """Complete checkpoints: the one that `latest` names, then the others, newest first."""
    found = [p for p in folder.glob("step_*") if _NAME.fullmatch(p.name) and p.is_dir()]
    found.sort(key=step_of, reverse=True)
    pointer = folder / _LATEST
    named = pointer.read_text(errors="replace").strip() if pointer.is_file() else ""
    return sorted(found, key=lambda p: p.name != named)


def spread_of(size: int, *, keep: int) -> int:
    """How many earlier checkpoints of so many bytes stay, spread over the training.

    Up to `SPREAD` beside the newest `keep`, as long as all together take `ROOM` at most; none where
    only one is wanted.
    """
    return max(0, min(SPREAD, ROOM // max(1, size) - keep)) if keep > 1 else 0


def thinned(steps: list[int], most: int, *, until: int) -> list[int]:
    """At most so many of some steps, in order, spread as evenly as what is there allows.

    While there are too many, the step whose neighbours lie nearest to one another goes.

    Args:
        steps: in rising order.
        most: to leave.
        until: where the range that they are spread over ends; it begins at 0.
    """
    left = list(steps)
    while len(left) > most:
        ends = [0, *left, until]
        left.pop(min(range(len(left)), key=lambda i: ends[i + 2] - ends[i]))
    return left


def _prune(folder: Path, *, step: int, keep: int) -> None:
    """Leave the checkpoint just written, the `keep - 1` before it and some earlier ones.

    The initial weights are not among the earlier ones: they can be had from the seed. Later ones
    belong to a future that was abandoned by going back to a damaged one's predecessor.
    """
    found = {step_of(p): p for p in _candidates(folder)}
    past = sorted(s for s in found if s < step)
    newest = past[max(0, len(past) - keep + 1) :]
    size = sum(p.stat().st_size for p in path_of(folder, step).iterdir())
    early = [s for s in past if s not in newest and s > 0]
    spread = thinned(early, spread_of(size, keep=keep), until=newest[0] if newest else step)
    try:
        for other in found.keys() - {step, *newest, *spread}:
            path = found[other]
            path.rename(path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex[:8]}"))
    except OSError as error:
        log.warning("Cannot delete old checkpoints in %s: %s.", folder, error.strerror)
    sweep(folder)


def _point(folder: Path, name: str) -> None:
    draft = folder / f"{_LATEST}.tmp"
    _write_text(draft, name + "\n")
    draft.replace(folder / _LATEST)
    sync(folder)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text)
    sync(path)


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write safetensors; tied tensors are written twice, since loading copies into place."""
    seen: set[int] = set()
    ready: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous()
        storage = flat.untyped_storage().data_ptr()
        ready[name] = flat.clone() if storage in seen else flat
        seen.add(storage)
    try:
        save_file(ready, path)
    except SafetensorError as error:
        raise _as_os_error(error, path) from error
    path.chmod(0o644)
    sync(path)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise Failure(
            f"{path} is no safetensors file ({error}), though its hash is right: it was not "
            "written by manyviews. Restore it from a backup."
        ) from error


def _as_os_error(error: SafetensorError, path: Path) -> OSError:
    """The library reports a full disk as text; say it as Python does."""
    code = re.search(r"os error (\d+)", str(error))
    number = int(code.group(1)) if code else errno.EIO
    return OSError(number, os.strerror(number), str(path))


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _names(method: nn.Module) -> dict[int, str]:
    return {id(p): name for name, p in method.named_parameters()}


def _flatten(method: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as "parameter name/state name" -> tensor."""
    names = _names(method)
    return {
        f"{names[id(p)]}/{key}": value
        for p, state in optimizer.state.items()
        for key, value in state.items()
        if value is not None
    }


def _unflatten(
    tensors: Mapping[str, Tensor], method: nn.Module, optimizer: torch.optim.Optimizer, path: Path
) -> None:
    """The inverse of `_flatten`, in the memory layout of the parameters."""
    params = dict(method.named_parameters())
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    state: dict[nn.Parameter, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        owner, _, key = name.rpartition("/")
        if owner not in params or id(params[owner]) not in trained:
            raise Failure(
                f"{path / _OPTIMIZER} does not fit this configuration: {owner} is not trained. "
                "Resume with the configuration the run began with."
            )
        p = params[owner]
        fits = value.shape == p.shape
        state.setdefault(p, {})[key] = torch.empty_like(p).copy_(value) if fits else value
    numbers = {
        p: i for i, p in enumerate(q for group in optimizer.param_groups for q in group["params"])
    }
    whole = optimizer.state_dict()
    whole["state"] = {numbers[p]: entry for p, entry in state.items()}
    optimizer.load_state_dict(whole)
