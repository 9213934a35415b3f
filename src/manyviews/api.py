"""The verbs as functions. The command line calls these; so can you.

Each takes plain values and returns a result that prints as lines and as JSON. What a user can
mend is raised as `core.UsageError` or `core.Failure`, with one line that says how.
"""

import datetime
import inspect
import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import Progress

from manyviews import comm, encoders, exporting, probing, reporting, results
from manyviews.assemble import Assembly, assemble, cores, embedder, readers, resolve
from manyviews.config import nearest, override
from manyviews.core import Clock, Failure, UsageError
from manyviews.data import doctor as doctoring
from manyviews.data.quarantine import Quarantine
from manyviews.data.sources import open_source
from manyviews.data.survey import survey
from manyviews.diagnosis import wiring
from manyviews.evaluation import baselines, features
from manyviews.evaluation import embed as embedding
from manyviews.evaluation.files import atomic
from manyviews.evaluation.protocols import PROTOCOLS
from manyviews.methods import catalog
from manyviews.recipes import RECIPES, one_duration, saved
from manyviews.recipes.run import AnyRun, Facts
from manyviews.training import checkpoint, launch
from manyviews.training.directory import RunDirectory
from manyviews.training.job import Job
from manyviews.training.loop import fit
from manyviews.watching import Watch

log = logging.getLogger("manyviews")

BUILTIN = "builtin:fashion"
MAX_PIXELS = 200_000_000


def facts(data: str, *, channels: int = 0, max_pixels: int = MAX_PIXELS) -> Facts:
    """What a recipe looks at: a quick survey of the data, and the machine.

    Args:
        data: a folder, a text file of paths, `fashion-mnist:DIR` or `builtin:fashion`.
        channels: bring images to this many; 0 takes 1 if all sampled images are grey, else 3.
        max_pixels: larger images are unreadable.
    """
    first = survey(open_source(data, channels=channels or 3, max_pixels=max_pixels))
    chosen = channels or first.channels
    seen = first
    if chosen != (channels or 3):
        seen = survey(open_source(data, channels=chosen, max_pixels=max_pixels))
    return Facts(
        source=data,
        count=seen.count,
        side=seen.side,
        channels=chosen,
        mean=seen.mean,
        std=seen.std,
        device=launch.device().type,
        cores=cores(),
    )


def typical_facts() -> Facts:
    """Stand-ins, so that a recipe's settings can be shown before there is any data."""
    return Facts(
        source="DATA",
        count=10_000,
        side=256,
        channels=3,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        device=launch.device().type,
        cores=cores(),
    )


def new_directory(recipe: str) -> Path:
    """A run directory that does not exist yet, the same on all ranks: runs/RECIPE-DATE-TIME."""
    now = torch.tensor([time.time()], dtype=torch.float64, device=launch.device())
    stamp = datetime.datetime.fromtimestamp(comm.broadcast(now).item()).astimezone()
    return Path("runs") / f"{recipe}-{stamp:%Y%m%d-%H%M%S}"


def train(
    recipe: str,
    *,
    data: str,
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> results.Trained:
    """Train a recipe on unlabelled images.

    Args:
        recipe: a name from `manyviews list recipes`.
        data: a folder, a text file of paths, `fashion-mnist:DIR` or `builtin:fashion`.
        out: the run directory to make; runs/RECIPE-DATE-TIME if not given.
        overrides: dotted names of settings -> values, as on the command line without the dashes:
            `{"train.minutes": 5, "data.batch_size": 128}`.
    """
    if recipe not in RECIPES:
        raise UsageError(f"no recipe '{recipe}'. {nearest(recipe, list(RECIPES))}")
    given = dict(overrides or {})
    seen = facts(data, **_before_looking(given))
    default = RECIPES[recipe](seen)
    run = one_duration(override(default, given), default)
    return execute(run, out=Path(out) if out else None)


def _before_looking(given: Mapping[str, Any]) -> dict[str, int]:
    """The few settings that matter before a recipe sees the data."""
    found = dict[str, int]()
    for name, value in given.items():
        key = name.replace("-", "_")
        if key in ("data.channels", "data.max_pixels"):
            if type(value) is not int:
                raise UsageError(f"{name} should be a whole number; got {value!r}.")
            found[key.removeprefix("data.")] = value
    return found


def execute(run: AnyRun, *, out: Path | None = None) -> results.Trained:
    """Train a complete `Run` in a new run directory; runs/RECIPE-DATE-TIME if not given."""
    return _run(resolve(run), out, resume=False)


def resume(run: str | Path, *, accept_data_change: bool = False) -> results.Trained:
    """Go on where an interrupted run stopped; on a CPU, bit for bit.

    Args:
        run: the run directory.
        accept_data_change: go on although the data is not what the run began with.
    """
    directory = Path(run)
    began = json.loads(_text(directory / "began.json", directory))
    settings = saved_run(directory)
    now = open_source(
        settings.data.source,
        channels=settings.data.channels,
        max_pixels=settings.data.max_pixels,
    ).digest
    if now != began["digest"] and not accept_data_change:
        raise UsageError(
            f"{settings.data.source} has changed since {directory} began. Put it back, or add "
            "--accept-data-change to go on with what is there now."
        )
    return _run(settings, directory, resume=True)


def _run(run: AnyRun, directory: Path | None, *, resume: bool) -> results.Trained:
    with ExitStack() as stack:
        stack.enter_context(launch.ranks(launch.device()))
        directory = directory or new_directory(run.recipe)
        opened = stack.enter_context(RunDirectory(directory))
        if not resume:
            _refuse_second(directory)
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
        )
        if outcome.status == "interrupted" or comm.rank() > 0:
            return result
        return replace(result, evaluation=_leave_behind(assembly, probe, directory))


def _refuse_second(directory: Path) -> None:
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
    for result in found:
        write_json(directory / "evaluation" / f"{result.protocol}.json", result.to_json())
    return {result.protocol: result.accuracy for result in found}


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


def load(run: str | Path) -> exporting.Embedder:
    """The encoder of a run, frozen, with its `transform`: images in, embeddings [B, D] out.

    Args:
        run: a run directory, or an encoder.safetensors.
    """
    return exporting.load_encoder(encoder_file(run))


def encoder_file(run: str | Path) -> Path:
    """The encoder.safetensors that a RUN argument names.

    Raises:
        UsageError: there is none.
    """
    path = Path(run)
    found = path / "encoder.safetensors" if path.is_dir() else path
    if not found.is_file():
        unfinished = path.is_dir() and (path / "checkpoints").is_dir()
        advice = (
            f"It is not finished: `manyviews resume {path}` goes on."
            if unfinished
            else "Give a run directory or an encoder.safetensors."
        )
        raise UsageError(f"{path} has no encoder. {advice}")
    return found


def embed(
    run: str | Path,
    *,
    data: str,
    out: str | Path,
    level: Literal["image", "patch"] = "image",
    batch_size: int = 256,
    max_pixels: int = MAX_PIXELS,
) -> results.Written:
    """Write the features of every image, with its name, to .parquet or .npy."""
    if Path(out).suffix not in (".parquet", ".npy"):
        raise UsageError(f"--out {out} should end in .parquet or .npy.")
    _one_of("level", level, ["image", "patch"])
    device = launch.device()
    network = load(run).to(device)
    source = open_source(data, channels=network.config.channels, max_pixels=max_pixels)
    with _bar("embedding") as progress:
        found = features.extract(
            network if level == "image" else network.tokens,
            source,
            network.plain,
            batch_size=batch_size,
            device=device,
            progress=progress,
            workers=readers(source),
        )
    names = [source.name(i) for i in found.index.tolist()]
    paths = embedding.write(Path(out), names, found.features, index=found.index)
    shape = " x ".join(map(str, found.features.shape))
    notes = [f"{shape} float32"] + [f"beside it: {p}" for p in paths[1:]]
    if found.bad:
        notes.append(f"{len(found.bad)} unreadable images are left out")
    return results.Written(path=paths[0], notes=notes)


def evaluate(
    run: str | Path,
    *,
    data: str,
    protocol: Literal["knn", "linear"] = "knn",
    batch_size: int = 256,
    max_pixels: int = MAX_PIXELS,
) -> results.Evaluated:
    """Measure a run's features with labels, beside raw pixels on the same images.

    The result is also written to RUN/evaluation/PROTOCOL.json, if that can be written.
    """
    _one_of("protocol", protocol, list(PROTOCOLS))
    network = load(run)
    device = launch.device()
    network = network.to(device)
    probe = probing.open_probe(data, network.plain, max_pixels=max_pixels, device=device)
    [result] = probe.measure(network, [protocol], batch_size=batch_size)
    [pixels] = probe.measure(baselines.pixels(network.plain.mean, network.plain.std), [protocol])
    path = Path(run)
    if path.is_dir():
        try:
            write_json(path / "evaluation" / f"{protocol}.json", result.to_json() | {"data": data})
        except Failure as failure:
            log.warning("%s", failure)
    return results.Evaluated(
        protocol=f"{result.protocol} v{result.version}",
        values={protocol: result.accuracy, f"{protocol} of raw pixels": pixels.accuracy},
        details=result.to_json() | {"data": data},
    )


def doctor(
    data: str, *, channels: int = 0, max_pixels: int = MAX_PIXELS, sample: int = 0
) -> results.Diagnosis:
    """Look at DATA before training: what is unreadable, how large, how alike; what to train.

    Args:
        data: as for `train`.
        channels: as for `facts`.
        max_pixels: as for `facts`.
        sample: examine only this many images, evenly spread; 0 examines all.
    """
    examine = partial(doctoring.doctor, data, max_pixels=max_pixels, sample=sample)
    try:
        seen = facts(data, channels=channels, max_pixels=max_pixels)
    except UsageError:
        # No image of a sample can be read. The report says why, unless there are no files at all.
        found = examine(channels=channels or 3)
        return results.Diagnosis(report=found, advice=["too few readable images to train on"])
    found = examine(channels=seen.channels)
    run = RECIPES["simclr"](seen)
    flag = f" --data.channels {channels}" if channels else ""
    return results.Diagnosis(
        report=found,
        advice=[
            f"train: manyviews train simclr --data {shlex.quote(data)}{flag}",
            f"that takes {run.encoder.name} at {run.views.global_.size} px, batch "
            f"{run.data.batch_size}, on {seen.device}",
        ],
    )


def report(run: str | Path) -> results.Written:
    """Write RUN/report.html again, from the run's newest checkpoint."""
    directory = Path(run)
    settings = saved_run(directory)
    _text(directory / "began.json", directory)
    assembly = assemble(settings)
    newest = checkpoint.latest(directory / "checkpoints")
    if newest is None:
        raise UsageError(f"{directory} has no checkpoint yet. Train it first.")
    checkpoint.load(newest, method=assembly.method)
    page = reporting.write(assembly, directory)
    return results.Written(path=page)


def export(
    run: str | Path,
    *,
    out: str | Path,
    format: Literal["timm", "safetensors", "onnx"] = "safetensors",  # noqa: A002, RUF100
) -> results.Written:
    """Write the encoder for another program."""
    _one_of("format", format, ["timm", "safetensors", "onnx"])
    file, out = encoder_file(run), Path(out)
    if format == "timm":
        return results.Written(path=out, notes=exporting.export_timm(file, out).splitlines())
    if format == "onnx":
        gap = exporting.export_onnx(file, out)
        note = (
            "onnxruntime is not installed, so it was not checked against torch"
            if gap is None
            else f"largest difference to torch: {gap:.1e}"
        )
        return results.Written(path=out, notes=[note])
    exporting.copy(file, out)
    return results.Written(path=out, notes=[f"read it with manyviews.load({str(out)!r})"])


def listing(what: Literal["recipes", "methods", "encoders"]) -> results.Listed:
    """Names, each with a line about it."""
    _one_of("what", what, ["recipes", "methods", "encoders"])
    if what == "encoders":
        return results.Listed(items=dict.fromkeys(encoders.names(), ""))
    if what == "methods":
        methods = {name: entry.method for name, entry in catalog.METHODS.items()}
        return results.Listed(items={n: _first_line(m) for n, m in methods.items()})
    return results.Listed(items={n: _first_line(r) for n, r in RECIPES.items()})


def demo(
    *, out: str | Path = "runs/demo", minutes: float = 5.0, seed: int = 0
) -> results.Demo | results.Trained:
    """Train on the built-in images, evaluate on their labels, write the report.

    Run again, it goes on where it was interrupted; then it gives what a training gives.
    """
    directory = Path(out)
    begun = checkpoint.exists(directory / "checkpoints")
    default = RECIPES["simclr"](facts(BUILTIN))
    run = one_duration(override(default, {"seed": seed, "train.minutes": minutes}), default)
    before = assemble(run)
    if begun and saved_run(directory) != before.run:
        _refuse_second(directory)
    probe = probing.open_probe(BUILTIN, before.plain, max_pixels=MAX_PIXELS, device=before.device)
    [pixels] = probe.measure(baselines.pixels(before.run.data.mean, before.run.data.std), ["knn"])
    [untrained] = probe.measure(embedder(before.method.encoder, before.device), ["knn"])
    log.info("raw pixels %.3f, untrained encoder %.3f", pixels.accuracy, untrained.accuracy)
    trained = resume(directory) if begun else execute(run, out=directory)
    if trained.status != "done":
        return trained
    network = load(directory).to(before.device)
    [result] = probe.measure(network, ["knn"])
    numbers = {
        "raw_pixels": pixels.accuracy,
        "untrained": untrained.accuracy,
        "trained": result.accuracy,
    }
    write_json(directory / "evaluation" / "knn.json", result.to_json() | {"data": BUILTIN})
    write_json(directory / "evaluation" / "demo.json", numbers)
    report(directory)
    return results.Demo(**numbers, run=directory, seconds=trained.seconds)


def saved_run(directory: Path) -> AnyRun:
    """The settings that a run directory began with.

    Raises:
        UsageError: it is no run directory, or its config.yaml was damaged.
    """
    path = directory / "config.yaml"
    return saved.from_yaml(_text(path, directory), name=str(path))


def _command(run: AnyRun, directory: Path) -> str:
    """What was typed to begin this run, or what would begin one like it."""
    if Path(sys.argv[0]).name in ("manyviews", "__main__.py"):
        return shlex.join(["manyviews", *sys.argv[1:]])
    return f"manyviews train {run.recipe} --data {shlex.quote(run.data.source)} --out {directory}"


def write_json(path: Path, value: Any) -> None:
    """Write a small JSON document, whole or not at all."""
    with atomic(path) as draft:
        draft.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _bar(what: str) -> Generator[Callable[[int, int], None]]:
    """A progress bar on standard error; call it with (done, in all)."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(what)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


def _one_of(name: str, value: str, known: list[str]) -> None:
    """Check what the command line checks already."""
    if value not in known:
        raise UsageError(f"{name} is '{value}'. {nearest(value, known)}")


def _text(path: Path, directory: Path) -> str:
    if not path.is_file():
        raise UsageError(f"{directory} is no run directory: it has no {path.name}.")
    return path.read_text(encoding="utf-8")


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]
