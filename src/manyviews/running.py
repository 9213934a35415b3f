"""One training from its settings to what it leaves behind: checkpoints, encoder, report."""

import datetime
import json
import logging
import resource
import shlex
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from manyviews import comm, exporting, probing, reporting, results
from manyviews.assemble import Assembly, assemble, embedder
from manyviews.core import Clock, Failure, UsageError
from manyviews.data.quarantine import Quarantine
from manyviews.diagnosis import wiring
from manyviews.files import atomic, json_text
from manyviews.methods import catalog
from manyviews.recipes import saved
from manyviews.recipes.run import AnyRun
from manyviews.training import checkpoint, launch
from manyviews.training.directory import RunDirectory
from manyviews.training.job import Job
from manyviews.training.loop import fit
from manyviews.watching import Watch

log = logging.getLogger("manyviews")


def run_in(directory: Path | None, run: AnyRun, *, resume: bool) -> results.Trained:
    """Train a complete `Run` in a directory, from the beginning or from its last checkpoint."""
    with ExitStack() as stack:
        stack.enter_context(launch.ranks(launch.device()))
        directory = directory or new_directory(run.recipe)
        opened = stack.enter_context(RunDirectory(directory))
        if not resume:
            refuse_second(directory)
            opened.cut_metrics(0)  # of a start that did not come to its first checkpoint
        assembly = assemble(run)
        quarantine = Quarantine(directory / "quarantine.jsonl")
        if not resume:
            _begin(assembly, directory)
        watch = Watch(opened, on_collapse=run.train.on_collapse)
        if not resume:
            _check_wiring(assembly, watch)
        probe = _probe(assembly)
        _say_plan(assembly)
        outcome = fit(
            Job(
                method=assembly.method,
                optim=run.optim,
                train=run.train,
                seed=run.seed,
                batch_size=run.data.batch_size,
                steps_per_epoch=assembly.steps_per_epoch,
                batches=assembly.batches(quarantine),
                directory=opened,
                device=assembly.device,
                monitors=[watch],
                probe=probe,
                probe_every=run.probe.every,
                embed_all=assembly.embed_all,
                why_waiting=assembly.why_waiting,
                resume=resume,
            )
        )
        result = results.Trained(
            status=outcome.status,
            run=directory,
            steps=outcome.steps,
            seconds=outcome.seconds,
            images_per_second=outcome.images_per_second,
            waited=outcome.data_wait,
            skipped=outcome.skipped,
            unreadable=len(quarantine),
            alarms=watch.said,
            peak_memory=_peak_memory(assembly.device),
        )
        if comm.rank() == 0:
            _note_outcome(result, directory)
        if outcome.status == "interrupted" or comm.rank() > 0:
            return result
        return replace(result, evaluation=_leave_behind(assembly, probe, directory))


def refuse_second(directory: Path) -> None:
    """Only rank 0 looks: by the time that another one did, this run's first checkpoint is there."""
    if comm.rank() == 0 and checkpoint.exists(directory / "checkpoints"):
        raise UsageError(
            f"{directory} already holds a run. Continue it with `manyviews resume "
            f"{shlex.quote(str(directory))}`, or choose another --out."
        )


def _leave_behind(
    assembly: Assembly, probe: probing.LabelledProbe | None, directory: Path
) -> dict[str, float]:
    """Write encoder, evaluation and report of a training that is over and saved."""
    try:
        keep_encoder(assembly, directory)
        evaluation = _final_evaluation(assembly, probe, directory)
        reporting.write(assembly, directory)
    except (Failure, OSError) as error:
        failed = isinstance(error, OSError)
        said = f"Cannot write to {directory}: {error.strerror}." if failed else str(error)
        raise Failure(
            f"{said} The training is saved: when that "
            f"is mended, `manyviews resume {shlex.quote(str(directory))}` does the rest."
        ) from error
    return evaluation


def _peak_memory(device: torch.device) -> int:
    """Bytes: of this process, on its GPU where it trains on one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _note_outcome(result: results.Trained, directory: Path) -> None:
    """Write RUN/outcome.json, which `compare` reads; it is no reason to fail."""
    try:
        write_json(directory / "outcome.json", asdict(result) | {"run": str(directory)})
    except Failure as failure:
        log.warning("%s", failure)


def _begin(assembly: Assembly, directory: Path) -> None:
    """Write down what the run is, before anything is trained."""
    if comm.rank() > 0:
        return
    noted = {
        "digest": assembly.source.digest,
        "images": len(assembly.source),
        "command": _command(assembly.run, directory),
    }
    try:
        (directory / "config.yaml").write_text(saved.to_yaml(assembly.run), encoding="utf-8")
        (directory / "began.json").write_text(json.dumps(noted), encoding="utf-8")
    except OSError as error:
        raise Failure(
            f"cannot write to {directory}: {error.strerror}. Give a writable --out."
        ) from error


def _check_wiring(assembly: Assembly, watch: Watch) -> None:
    """Look at one batch before training: is everything connected?"""
    batches = next(assembly.batches(processes=0)(0, 1))
    for alarm in wiring.check(assembly.method, batches[0], Clock(0, 1)):
        log.warning("before training: %s", alarm)
        watch.write(alarm)


def _say_plan(assembly: Assembly) -> None:
    """Print the numbers that follow from the settings and the data."""
    run, optim = assembly.run, assembly.run.optim
    peak = optim.lr * (run.data.batch_size / optim.lr_per if optim.lr_per else 1)
    span = run.train
    long = (
        f"{span.steps:,} steps"
        if span.steps
        else f"{span.epochs:,} epochs = {span.epochs * assembly.steps_per_epoch:,} steps"
        if span.epochs
        else f"{span.minutes:g} minutes"
    )
    dtype = launch.autocast_dtype(run.train.precision, assembly.device)
    log.info(
        "%s: %s images, %s; batch %d, %s steps an epoch; %s with peak lr %.3g (%.3g x %d / %d), "
        "warm-up %.0f %%; %s in %s",
        run.recipe,
        f"{len(assembly.source):,}",
        long,
        run.data.batch_size,
        f"{assembly.steps_per_epoch:,}",
        optim.name,
        peak,
        optim.lr,
        run.data.batch_size,
        optim.lr_per or run.data.batch_size,
        100 * optim.warmup,
        assembly.device,
        "bf16" if dtype is not None else "fp32",
    )


def _probe(assembly: Assembly) -> probing.LabelledProbe | None:
    probe = assembly.run.probe
    if not probe.source:
        return None
    return probing.open_probe(
        probe.source,
        assembly.plain,
        max_pixels=assembly.run.data.max_pixels,
        device=assembly.device,
        linear=probe.linear,
    )


def _final_evaluation(
    assembly: Assembly, probe: probing.LabelledProbe | None, directory: Path
) -> dict[str, float]:
    if probe is None:
        return {}
    embed_ = embedder(assembly.method.encoder, assembly.device)
    found = probe.last or probe.measure(embed_, probe.protocols)
    content = probe.content(cache=directory / "cache")
    for result in found:
        path = directory / "evaluation" / f"{result.protocol}.json"
        write_json(path, result.to_json() | {"content": content})
    return {result.protocol: result.value for result in found}


def keep_encoder(assembly: Assembly, directory: Path) -> None:
    """Write RUN/encoder.safetensors, the file that a user keeps."""
    run = assembly.run
    exporting.save_encoder(
        directory / "encoder.safetensors",
        assembly.method.encoder,
        config=run.encoder,
        mean=run.data.mean,
        std=run.data.std,
        info={"method": catalog.name_of(run.method), "recipe": run.recipe},
    )


def saved_run(directory: Path) -> AnyRun:
    """The settings that a run directory began with.

    Raises:
        UsageError: it is no run directory, or its config.yaml was damaged.
    """
    path = directory / "config.yaml"
    return saved.from_yaml(run_text(path, directory), name=str(path))


def new_directory(recipe: str) -> Path:
    """A run directory that does not exist yet, the same on all ranks: runs/RECIPE-DATE-TIME."""
    now = torch.tensor([time.time()], dtype=torch.float64, device=launch.device())
    stamp = datetime.datetime.fromtimestamp(comm.broadcast(now).item()).astimezone()
    return Path("runs") / f"{recipe}-{stamp:%Y%m%d-%H%M%S}"


def _command(run: AnyRun, directory: Path) -> str:
    """What was typed to begin this run, or what would begin one like it."""
    if Path(sys.argv[0]).name in ("manyviews", "__main__.py"):
        return shlex.join(["manyviews", *sys.argv[1:]])
    return f"manyviews train {run.recipe} --data {shlex.quote(run.data.source)} --out {directory}"


def write_json(path: Path, value: Any) -> None:
    """Write a small JSON document, whole or not at all."""
    with atomic(path) as draft:
        draft.write_text(json_text(value) + "\n", encoding="utf-8")


def run_text(path: Path, directory: Path) -> str:
    """A file that every run directory has.

    Raises:
        UsageError: it is not there.
    """
    if not path.is_file():
        raise UsageError(f"{directory} is no run directory: it has no {path.name}.")
    return path.read_text(encoding="utf-8")
