"""The verbs as functions. The command line calls these; so can you.

Each takes plain values and returns a result that prints as lines and as JSON. What a user can
mend is raised as `core.UsageError` or `core.Failure`, with one line that says how.
"""

import inspect
import logging
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from manyviews import (
    benching,
    encoders,
    exporting,
    handover,
    onnx_model,
    probing,
    reporting,
    results,
)
from manyviews.assemble import assemble, cores, embedder, readers, resolve
from manyviews.bars import bar
from manyviews.comparing import compare
from manyviews.config import nearest, override
from manyviews.core import UsageError
from manyviews.data import doctor as doctoring
from manyviews.data.sources import open_source
from manyviews.data.survey import survey
from manyviews.diagnosing import diagnose
from manyviews.evaluating import IMAGE_PROTOCOLS, MAX_PIXELS, evaluate
from manyviews.evaluation import baselines, features
from manyviews.evaluation import embed as embedding
from manyviews.evaluation.protocols import PROTOCOLS
from manyviews.methods import catalog
from manyviews.packing import pack
from manyviews.recipes import RECIPES, one_duration, ranges
from manyviews.recipes.run import AnyRun, Facts
from manyviews.remains import read_began
from manyviews.reports import maps
from manyviews.running import (
    refuse_second,
    run_in,
    saved_run,
    write_json,
)
from manyviews.subjects import encoder_file, open_subject
from manyviews.training import checkpoint, launch

__all__ = [
    "compare",
    "demo",
    "diagnose",
    "doctor",
    "embed",
    "evaluate",
    "execute",
    "export",
    "facts",
    "listing",
    "load",
    "pack",
    "report",
    "resume",
    "train",
    "typical_facts",
]

log = logging.getLogger("manyviews")

BUILTIN = "builtin:fashion"


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
    ranges.check(run)
    return run_in(out, resolve(run), resume=False)


def resume(run: str | Path, *, accept_data_change: bool = False) -> results.Trained:
    """Go on where an interrupted run stopped; on a CPU, bit for bit.

    Args:
        run: the run directory.
        accept_data_change: go on although the data is not what the run began with.
    """
    directory = Path(run)
    began = read_began(directory)
    settings = saved_run(directory)
    ranges.check(settings)
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
    return run_in(directory, settings, resume=True)


def load(run: str | Path) -> exporting.Embedder:
    """The encoder of a run, frozen, with its `transform`: images in, embeddings [B, D] out.

    Args:
        run: a run directory, or an encoder.safetensors.
    """
    return exporting.load_encoder(encoder_file(run))


def embed(
    run: str | Path,
    *,
    data: str,
    out: str | Path,
    level: Literal["image", "patch"] = "image",
    encoder: str = "",
    image_size: int = 0,
    batch_size: int = 256,
    map: maps.Kind = "pca",  # noqa: A002, RUF100
    thumbnails: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> results.Written:
    """Write the features of every image, with its name, to .parquet or .npy.

    A .parquet also has each image's place on a map (x, y) and its absolute path (file).

    Args:
        run: a run directory, an encoder.safetensors, `timm:NAME`, or with `encoder` the checkpoint
            of another project.
        data: as for `train`.
        out: ends in .parquet or .npy.
        level: one vector an image, or one a patch.
        encoder: timm's name of the architecture of a checkpoint.
        image_size: side in pixels for timm models and checkpoints; 0 takes their own.
        batch_size: images at a time.
        map: of x and y: pca; umap or pacmap where `manyviews[maps]` is installed.
        thumbnails: also write pictures of this longer side in pixels (image); 0 for none.
        max_pixels: larger images are unreadable.
    """
    _one_of("map", map, ["pca", "umap", "pacmap"])
    if Path(out).suffix not in (".parquet", ".npy"):
        raise UsageError(f"--out {out} should end in .parquet or .npy.")
    _one_of("level", level, ["image", "patch"])
    if thumbnails < 0:
        raise UsageError(f"--thumbnails is {thumbnails}; wanted 0 or more pixels.")
    device = launch.device()
    network = open_subject(run, encoder=encoder, image_size=image_size).to(device)
    source = open_source(data, channels=network.config.channels, max_pixels=max_pixels)
    with bar("embedding") as progress:
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
    more = {}
    if Path(out).suffix == ".parquet":
        more = handover.columns(found, source, how=map, thumbnails=thumbnails)
    paths = embedding.write(Path(out), names, found.features, index=found.index, columns=more)
    shape = " x ".join(str(n) for n in found.features.shape)
    notes = [f"{shape} float32"] + [f"beside it: {p}" for p in paths[1:]]
    if found.bad:
        notes.append(f"{len(found.bad)} unreadable images are left out")
    return results.Written(path=paths[0], notes=notes)


def doctor(
    data: str,
    recipe: str = "simclr",
    *,
    channels: int = 0,
    max_pixels: int = MAX_PIXELS,
    sample: int = 0,
    bench: bool = False,
) -> results.Diagnosis | benching.Bench:
    """Look at DATA before training: what is unreadable, how large, how alike; what to train.

    Args:
        data: as for `train`.
        recipe: what to measure or to recommend.
        channels: as for `facts`.
        max_pixels: as for `facts`.
        sample: examine only this many images, evenly spread; 0 examines all.
        bench: instead measure, in less than a minute, what bounds training here.
    """
    if recipe not in RECIPES:
        raise UsageError(f"no recipe '{recipe}'. {nearest(recipe, list(RECIPES))}")
    if bench:
        seen = facts(data, channels=channels, max_pixels=max_pixels)
        run = override(RECIPES[recipe](seen), {"data.max_pixels": max_pixels})
        return benching.bench(run)
    examine = partial(doctoring.doctor, data, max_pixels=max_pixels, sample=sample)
    try:
        seen = facts(data, channels=channels, max_pixels=max_pixels)
    except UsageError:
        # No image of a sample can be read. The report says why, unless there are no files at all.
        found = examine(channels=channels or 3)
        return results.Diagnosis(report=found, advice=["too few readable images to train on"])
    found = examine(channels=seen.channels)
    run = RECIPES[recipe](seen)
    flag = f" --data.channels {channels}" if channels else ""
    return results.Diagnosis(
        report=found,
        advice=[
            f"train: manyviews train {recipe} --data {shlex.quote(data)}{flag}",
            f"that takes {run.encoder.name} at {run.views.global_.size} px, batch "
            f"{run.data.batch_size}, on {seen.device}",
        ],
    )


def report(
    run: str | Path,
    *,
    map: maps.Kind = "pca",  # noqa: A002, RUF100
) -> results.Written:
    """Write RUN/report.html again, from the run's newest checkpoint.

    Args:
        run: the run directory.
        map: pca; umap or pacmap where `manyviews[maps]` is installed.
    """
    _one_of("map", map, ["pca", "umap", "pacmap"])
    directory = Path(run)
    settings = saved_run(directory)
    read_began(directory)
    assembly = assemble(settings)
    newest = checkpoint.latest(directory / "checkpoints")
    if newest is None:
        raise UsageError(f"{directory} has no checkpoint yet. Train it first.")
    checkpoint.load(newest, method=assembly.method)
    page = reporting.write(assembly, directory, how=map)
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
        gap = onnx_model.export_onnx(file, out)
        note = (
            "onnxruntime is not installed, so it was not checked against torch"
            if gap is None
            else f"largest difference to torch: {gap:.1e}"
        )
        return results.Written(path=out, notes=[note])
    exporting.copy(file, out)
    return results.Written(path=out, notes=[f"read it with manyviews.load({str(out)!r})"])


def listing(
    what: Literal["recipes", "methods", "encoders", "protocols"],
) -> results.Listed:
    """Names, each with a line about it."""
    _one_of("what", what, ["recipes", "methods", "encoders", "protocols"])
    if what == "protocols":
        items = {n: _first_line(p) for n, p in PROTOCOLS.items()}
        return results.Listed(items=items | IMAGE_PROTOCOLS)
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
    ranges.check(run)
    before = assemble(run)
    if begun and saved_run(directory) != before.run:
        refuse_second(directory)
    probe = probing.open_probe(BUILTIN, before.plain, max_pixels=MAX_PIXELS, device=before.device)
    raw = probe.split(baselines.pixels(before.run.data.mean, before.run.data.std))
    pixels = PROTOCOLS["knn"](*raw)
    train_x, test_x = baselines.centred(raw.train_x, raw.test_x)
    centred = PROTOCOLS["knn"](train_x, raw.train_y, test_x, raw.test_y)
    [untrained] = probe.measure(embedder(before.method.encoder, before.device), ["knn"])
    log.info(
        "raw pixels %.3f, centred pixels %.3f, untrained encoder %.3f",
        *(pixels.value, centred.value, untrained.value),
    )
    trained = resume(directory) if begun else execute(run, out=directory)
    if trained.status != "done":
        return trained
    network = load(directory).to(before.device)
    [result] = probe.measure(network, ["knn"])
    numbers = {
        "raw_pixels": pixels.value,
        "centred_pixels": centred.value,
        "untrained": untrained.value,
        "trained": result.value,
    }
    write_json(
        directory / "evaluation" / "knn--builtin-fashion.json",
        result.to_json() | {"data": BUILTIN, "content": probe.content()},
    )
    write_json(directory / "evaluation" / "demo.json", numbers)
    report(directory)
    return results.Demo(**numbers, run=directory, seconds=trained.seconds)


def _one_of(name: str, value: str, known: list[str]) -> None:
    """Check what the command line checks already."""
    if value not in known:
        raise UsageError(f"{name} is '{value}'. {nearest(value, known)}")


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]
