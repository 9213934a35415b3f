"""One training from its settings to what it leaves behind: checkpoints, encoder, report."""

import logging
import resource
import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from manyviews.core import Clock, Failure, UsageError, comm
from manyviews.core.files import write_json
from manyviews.core.in_words import InWords
from manyviews.core.nouns import noun_of
from manyviews.core.progress import phase
from manyviews.core.settings import parts
from manyviews.data.places import contents
from manyviews.data.quarantine import Quarantine
from manyviews.diagnosis import wiring
from manyviews.methods import catalog
from manyviews.runs import budget, moved, report
from manyviews.runs.against import hold, sentences
from manyviews.runs.assemble import Assembly, assemble, embed_with, surplus
from manyviews.runs.embedder import save_encoder
from manyviews.runs.folder import read
from manyviews.runs.folder.lock import RunDirectory
from manyviews.runs.folder.paths import Paths
from manyviews.runs.folder.write import begin, new_directory, refuse_second
from manyviews.runs.keep import kept
from manyviews.runs.probe import Probes, of_encoder, open_probe
from manyviews.runs.settings import AnyRun
from manyviews.runs.start import Start, open_start, say_if_changed
from manyviews.runs.teachers import check_same, fingerprints
from manyviews.runs.watch import Watch
from manyviews.training import launch, precision, threads
from manyviews.training.job import Job
from manyviews.training.loop import fit

log = logging.getLogger("manyviews")


@dataclass(frozen=True, kw_only=True)
class Trained(InWords):
    """How a training ended.

    Attributes:
        status: done, interrupted (go on with `manyviews resume`) or collapsed.
        run: the run directory.
        steps: optimiser steps done.
        seconds: of training, without evaluation.
        images_per_second: while training.
        waited: share of training time spent waiting for data.
        skipped: steps that were skipped because a loss or gradient was not finite.
        unreadable: files that could not be read (see quarantine.jsonl).
        evaluation: name -> value of the last labelled probe, if there was one.
        alarms: one line for each alarm that was raised.
        against: a sentence on whether each encoder is better than untrained, and than the one that
            it began from.
        peak_memory: bytes of the first training process, on its GPU where it had one; data workers
            are not in it.
    """

    status: Literal["done", "interrupted", "collapsed"]
    run: Path
    steps: int
    seconds: float
    images_per_second: float
    waited: float
    skipped: int
    unreadable: int
    evaluation: dict[str, float] = field(default_factory=dict[str, float])
    alarms: list[str] = field(default_factory=list[str])
    peak_memory: int | None = None
    against: list[str] = field(default_factory=list[str])

    def lines(self) -> list[str]:
        """For people."""
        said = [
            f"{self.status}: {self.steps} steps in {self.seconds:.0f} s, "
            f"{self.images_per_second:.0f} samples/s, "
            f"{self.waited:.0%} of the time waiting for data"
        ]
        if self.unreadable:
            where = Paths(self.run).quarantine
            said.append(f"{self.unreadable} unreadable files were replaced; see {where}")
        if self.skipped:
            said.append(f"{self.skipped} steps were skipped: the loss or a gradient was not finite")
        said += [f"alarm: {alarm}" for alarm in self.alarms]
        said += [f"{name}: {value:.4f}" for name, value in self.evaluation.items()]
        said += self.against
        page = Paths(self.run).report
        encoders = [f"encoder: {file}" for file in Paths(self.run).encoders().values()]
        run = shlex.quote(str(self.run))
        after = {
            "done": [
                *encoders,
                f"report: {page}",
                f"did it work, what next: manyviews diagnose {run}",
            ],
            "interrupted": [f"go on with: manyviews resume {run}"],
            "collapsed": [f"see {page}; change what the alarm names and train again"],
        }
        return [*said, *after[self.status]]


def run_in(directory: Path | None, run: AnyRun, *, resume: bool) -> Trained:
    """Train a complete `Run` in a directory, from the beginning or from its last checkpoint."""
    with ExitStack() as stack:
        before = threads.moment()
        stack.enter_context(launch.ranks(launch.device()))
        directory = directory or new_directory(run.recipe)
        opened = stack.enter_context(RunDirectory(directory))
        if not resume:
            refuse_second(directory)
            opened.cut_metrics(0)  # of a start that did not come to its first checkpoint
        start = open_start(run) if run.start and not resume else None
        if resume:
            say_if_changed(directory, run)
            if comm.rank() == 0:
                moved.keep(directory, run)
        assembly = assemble(run, start=start)
        _no_surplus(assembly, resume=resume)
        if resume and assembly.teachers:
            check_same(assembly.teachers, read.read_began(directory).get("teachers"))
        assembly = stack.enter_context(kept(assembly, directory, resume=resume))
        quarantine = Quarantine(Paths(directory).quarantine)
        if resume:
            threads.again(read.read_began(directory).get("threads"))
        else:
            if assembly.device.type == "cpu" and (said := threads.settle(before)):
                log.info("%s", said)
            _begin(assembly, directory, start)
        noun = noun_of(assembly.source.streams)
        watch = Watch(opened, on_collapse=run.train.on_collapse, noun=noun)
        if not resume:
            _check_wiring(assembly, watch)
        probes = _probes(assembly)
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
                probe=probes,
                probe_every=run.probe.every,
                embed_all=partial(assembly.embed_all, quarantine=quarantine),
                why_waiting=assembly.why_waiting,
                budget=partial(_budget, assembly, directory),
                resume=resume,
            )
        )
        result = Trained(
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
        evaluation = _leave_behind(assembly, probes, directory, step=outcome.steps)
        return replace(result, evaluation=evaluation, against=sentences(directory))


def _leave_behind(
    assembly: Assembly, probes: Probes | None, directory: Path, *, step: int
) -> dict[str, float]:
    """Write encoder, evaluation and report of a training that is over and saved."""
    try:
        keep_encoders(assembly, Paths(directory).encoder)
        evaluation = _final_evaluation(assembly, probes, directory)
        _held(assembly, directory, step=step, probes=probes)
        _report(assembly, directory)
    except (Failure, OSError) as error:
        failed = isinstance(error, OSError)
        said = f"Cannot write to {directory}: {error.strerror}." if failed else str(error)
        raise Failure(
            f"{said} The training is saved: when that is repaired, `manyviews resume "
            f"{shlex.quote(str(directory))}` does the rest."
        ) from error
    return evaluation


def _held(assembly: Assembly, directory: Path, *, step: int, probes: Probes | None) -> None:
    """Hold the encoders against what they were; what fails costs a line, as a report does."""
    try:
        with phase("holding it against the untrained encoder"):
            hold(assembly, directory, step=step, probes=probes)
    except (Failure, OSError):
        raise
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        log.warning("The encoders are held against nothing (%s: %s).", type(error).__name__, first)


def _report(assembly: Assembly, directory: Path) -> None:
    """Write the report; one that cannot be made is no reason for a finished training to fail."""
    try:
        report.write(assembly, directory)
    except (Failure, OSError):  # a disk, which can be mended
        raise
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        log.warning(
            "The report could not be made (%s: %s). `manyviews report %s` tries again.",
            *(type(error).__name__, first, shlex.quote(str(directory))),
        )


def _peak_memory(device: torch.device) -> int:
    """Bytes: of this process, on its GPU where it trains on one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _note_outcome(result: Trained, directory: Path) -> None:
    """Write RUN/outcome.json, which `compare` reads; it is no reason to fail."""
    try:
        write_json(Paths(directory).outcome, asdict(result) | {"run": str(directory)})
    except Failure as failure:
        log.warning("%s", failure)


def _begin(assembly: Assembly, directory: Path, start: Start | None) -> None:
    """Write down what the run is, before anything is trained."""
    if comm.rank() > 0:
        return
    if start is not None:  # first, so that whatever can be resumed has it
        keep_encoders(assembly, Paths(directory).start)
    begin(
        directory,
        assembly.run,
        digest=assembly.source.digest,
        contents=contents(assembly.source),
        images=len(assembly.source),
        command=_command(assembly.run, directory),
        threads=torch.get_num_threads(),
        start="" if start is None else start.digest,
        teachers=fingerprints(assembly.teachers),
        positives="" if assembly.pairs is None else assembly.pairs.digest,
    )


def _no_surplus(assembly: Assembly, *, resume: bool) -> None:
    """Refuse to make views for nothing; a run of an earlier version may have begun so."""
    said = surplus(assembly.run, assembly.pipeline, assembly.method)
    if said and not resume:
        raise UsageError(said)
    if said and comm.rank() == 0:
        log.warning("%s", said)


def _check_wiring(assembly: Assembly, watch: Watch) -> None:
    """Look at one batch before training: is everything connected?"""
    batches = next(assembly.batches(processes=0)(0, 1))
    noun = noun_of(assembly.source.streams)
    with phase("checking one batch") if comm.rank() == 0 else nullcontext():
        found = wiring.check(assembly.method, batches[0], Clock(0, 1), noun=noun)
    for alarm in found:
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
        else budget.minutes_of(span.minutes)
    )
    dtype = precision.autocast_dtype(run.train.precision, assembly.device)
    log.info(
        "%s: %s samples, %s; batch %d, %s steps an epoch; %s with peak lr %.3g (%.3g x %d / %d), "
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


def _budget(assembly: Assembly, directory: Path, speed: float) -> list[str]:
    """What the duration buys at so many samples/s."""
    samples, device = len(assembly.source), assembly.device.type
    said = budget.words(assembly.run, samples=samples, speed=speed, device=device)
    if read.read_began(directory)["command"].startswith("manyviews demo"):  # its own flag
        return [line.replace("--train.minutes", "--minutes") for line in said]
    return said


def _probes(assembly: Assembly) -> Probes | None:
    probe, kept = assembly.run.probe, assembly.method.encoders
    if not probe.source:
        return None
    named = {name if len(kept) > 1 else "": encoder for name, encoder in kept.items()}
    return Probes(
        (
            name,
            open_probe(
                probe.source,
                encoder.input,
                max_pixels=assembly.run.data.max_pixels,
                device=assembly.device,
                linear=probe.linear,
                name=name,
            ),
        )
        for name, encoder in named.items()
    )


def _final_evaluation(
    assembly: Assembly, probes: Probes | None, directory: Path
) -> dict[str, float]:
    evaluated: dict[str, float] = {}
    paths = Paths(directory)
    for name, probe in (probes or {}).items():
        encoder = assembly.method.encoders[name] if name else assembly.method.encoder
        found = probe.last or probe.measure(embed_with(encoder, assembly.device), probe.protocols)
        told = {"content": probe.content(cache=paths.cache)} | ({"which": name} if name else {})
        for result in found:
            path = paths.evaluation(f"{result.protocol}-{name}" if name else result.protocol)
            write_json(path, result.to_json() | told)
            evaluated[of_encoder(result.protocol, name)] = result.value
    return evaluated


def keep_encoders(assembly: Assembly, path: Callable[[str], Path]) -> None:
    """Write the files that a user keeps: RUN/encoder.safetensors, or encoder-NAME for several."""
    run = assembly.run
    configs = parts(run.encoders)
    for name, encoder in assembly.method.encoders.items():
        save_encoder(
            path(name if len(configs) > 1 else ""),
            encoder,
            config=configs[name],
            info={"method": catalog.name_of(run.method), "recipe": run.recipe},
        )


def _command(run: AnyRun, directory: Path) -> str:
    """What was typed to begin this run, or what would begin one like it."""
    if Path(sys.argv[0]).name in ("manyviews", "__main__.py"):
        return shlex.join(["manyviews", *sys.argv[1:]])
    start = f" --start {shlex.quote(run.start)}" if run.start else ""
    data = shlex.quote(run.data.source)
    return f"manyviews train {run.recipe} --data {data}{start} --out {directory}"
