"""Gathers what a run's report shows, from the run directory and its data."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from manyviews.core.files import atomic
from manyviews.core.nouns import noun_of
from manyviews.core.progress import phase
from manyviews.core.sample import Bytes
from manyviews.core.settings import parts
from manyviews.data import groups
from manyviews.diagnosis import spectrum
from manyviews.diagnosis.state import FeatureState, state_of
from manyviews.reports.content import Content, Embedded, Seen, attempt, of
from manyviews.reports.maps import MapKind
from manyviews.reports.page import render
from manyviews.runs import strips
from manyviews.runs.against import HeldAgainst, standing
from manyviews.runs.assemble import Assembly, embed_with
from manyviews.runs.folder import read
from manyviews.runs.folder.paths import Paths
from manyviews.runs.verdict import verdict_of
from manyviews.training import checkpoint

SAMPLE = 1000
"""Samples that are embedded for the spectrum, the map and the gallery."""
PACKAGES = ("manyviews", "torch", "torchvision", "timm", "numpy")


def write(
    assembly: Assembly,
    directory: Path,
    *,
    step: int | None = None,
    how: MapKind = "pca",
    colour: str = "",
) -> Path:
    """Write `report.html` of a run.

    Args:
        assembly: the run.
        directory: where it lies.
        step: of the checkpoint that the method is at; the newest if not given.
        how: features become points of the map.
        colour: of its points, as `data.groups.values` takes it.

    Raises:
        UsageError: it names nothing that these samples have.
    """
    page = Paths(directory).report
    with phase("writing the report"):
        text = render(gather(assembly, directory, step=step, how=how, colour=colour))
    with atomic(page) as draft:
        draft.write_text(text, encoding="utf-8")
    return page


def gather(
    assembly: Assembly,
    directory: Path,
    *,
    step: int | None = None,
    how: MapKind = "pca",
    colour: str = "",
) -> Content:
    """Everything that the page shows."""
    values = groups.values(assembly.source, colour, flag="--colour") if colour else []
    names = list(assembly.method.encoders)
    newest = checkpoint.latest(Paths(directory).checkpoints)
    last = 0 if newest is None else checkpoint.step_of(newest)
    step = last if step is None else step
    records = read.read_metrics(directory)
    embedded = attempt("what needs features", lambda: embedded_by(assembly, values), {})
    noun = noun_of(assembly.source.streams)
    states = {
        name: attempt(
            of("a state", name if len(names) > 1 else ""),
            partial(state_of, torch.from_numpy(found.features), noun=noun),
            None,
        )
        for name, found in embedded.items()
    }
    held = None
    if any(states.values()):
        held = attempt("a verdict", lambda: standing(assembly, directory, step=step), None)
    seen: dict[str, Seen] = {}
    for name in names:
        key = _key(name, names)
        known = Known(embedded.get(name), states.get(name), held)
        seen[key] = _seen(assembly, directory, key, known, step=step, newest=step == last)
    alarms = sorted({str(r.get("message")) for r in records if r.get("kind") == "alarm"})
    return Content(
        title=f"{assembly.run.recipe} on {assembly.run.data.source}",
        encoders=seen,
        figures=_figures(
            directory,
            records,
            {n: s for n, s in states.items() if seen[_key(n, names)].verdict is None},
        ),
        facts=_facts(assembly) | ({} if step == last else {"checkpoint": f"step {step:,}"}),
        records=records,
        views=attempt("views", lambda: strips.views(assembly), []),
        insight=strips.insight(assembly),
        levels=_levels(directory, assembly.run.probe.source),
        map=how,
        colour=colour,
        alarms=alarms,
        quarantine=read.read_quarantine(directory),
        command=read.read_began(directory)["command"],
        config=read.config_text(directory),
        versions={p: importlib.metadata.version(p) for p in PACKAGES}
        | {"Python": platform.python_version()},
        noun=noun,
    )


def _key(name: str, names: Sequence[str]) -> str:
    """What the page calls an encoder: nothing where it is the only one."""
    return name if len(names) > 1 else ""


@dataclass(frozen=True)
class Known:
    """What was found of an encoder, and what all were held against; None where it failed."""

    embedded: Embedded | None
    state: FeatureState | None
    held: HeldAgainst | None


def _seen(
    assembly: Assembly, directory: Path, name: str, known: Known, *, step: int, newest: bool
) -> Seen:
    diagnosis, diagnosed = _diagnosis(directory, name, step)
    best = diagnosis.get("best") if newest and not diagnosed else None
    state, held, judged, values = known.state, known.held, None, None
    if state is not None and held is not None:
        judged = attempt(
            of("a verdict", name),
            lambda: verdict_of(assembly, directory, state, held, step=step, name=name, best=best),
            None,
        )
    if known.embedded is not None:
        features = torch.from_numpy(known.embedded.features)
        values = attempt(of("a spectrum", name), lambda: spectrum.singular_values(features), None)
    return Seen(
        verdict=judged,
        embedded=known.embedded,
        spectrum=[] if values is None else values.tolist(),
        diagnosis=diagnosis,
        diagnosed=diagnosed,
    )


def _diagnosis(directory: Path, encoder: str, step: int) -> tuple[dict[str, Any], int]:
    """What was found of an encoder, and the step seen where that is not the one shown."""
    found = read.read_diagnosis(directory, encoder)
    seen = max((int(step) for step in found.get("checkpoints", {})), default=0)
    return found, seen if seen and seen != step else 0


def embedded_by(assembly: Assembly, values: Sequence[str] = ()) -> dict[str, Embedded]:
    """Features of each encoder, and a picture of what it is fed of each sample.

    Args:
        assembly: the run.
        values: of each sample of its data, to colour by; empty for none.
    """
    source = assembly.source
    count = min(SAMPLE, len(source))
    index = np.linspace(0, len(source) - 1, count).astype(int).tolist()
    encoders, inputs = assembly.method.encoders, assembly.fixed.inputs()
    features: dict[str, list[NDArray[np.float32]]] = {name: [] for name in encoders}
    images: dict[str, list[Bytes]] = {name: [] for name in encoders}
    rows: list[int] = []
    for start in range(0, count, 128):
        where, seen = assembly.look(index[start : start + 128])
        if not where:
            continue
        for name, encoder in encoders.items():
            views = seen[name][:, 0]
            features[name].append(embed_with(encoder, assembly.device)(views).cpu().numpy())
            images[name] += [_thumbnail(inputs[name].picture(view)) for view in views]
        rows += where
    return {
        name: Embedded(
            features=np.concatenate(features[name]),
            images=images[name],
            names=[assembly.source.name(i) for i in rows],
            values=[values[i] for i in rows] if values else [],
        )
        for name in encoders
    }


def _thumbnail(image: Bytes, side: int = 96) -> Bytes:
    """Small enough to keep a thousand of them."""
    step = max(1, max(image.shape[:2]) // side)
    return np.ascontiguousarray(image[::step, ::step])


def _figures(
    directory: Path,
    records: Sequence[Mapping[str, Any]],
    states: Mapping[str, FeatureState | None],
) -> dict[str, str]:
    train = [r for r in records if r.get("kind") == "train"]
    figures: dict[str, str] = {}
    for name, state in states.items():
        if state is not None:
            of = f"{name}: " if len(states) > 1 else ""
            used = f"{state.directions:,.0f} of {state.width:,}"
            figures[f"{of}directions used (effective rank)"] = used
            figures[f"{of}RankMe"] = f"{state.numbers['rankme']:.0f}"
    figures |= _accuracies(directory)
    if train:
        if train[-1].get("loss") is not None:  # null where it was not finite
            figures["loss, at last"] = f"{train[-1]['loss']:.4f}"
        # not every step is logged, and the last stretch may have been a slow one
        whole = read.read_json(Paths(directory).outcome) or train[-1]
        figures["steps"] = f"{whole.get('steps', train[-1]['step']):,}"
        if whole.get("images_per_second"):
            figures["samples/s"] = f"{whole['images_per_second']:,.0f}"
    return figures


def _accuracies(directory: Path) -> dict[str, str]:
    """What was measured with labels, each with what no training has touched beside it."""
    found: dict[str, Mapping[str, Any]] = {}
    results = [read.read_evaluation(path) for path in Paths(directory).evaluations()]
    results = [result for result in results if result]
    many = len({result.get("data") for result in results} - {None}) > 1
    for result in results:
        of = f" {result['which']!r}" if result.get("which") else ""
        at = f" at step {result['step']}" if result.get("step") else ""
        at += f" after block {result['settings'].get('layer')}" if result.get("layer") else ""
        at += f" over {result['averaged']}" if result.get("averaged") else ""
        at += f" on {result['data']}" if many and result.get("data") else ""
        label = f"trained encoder{of}: {result['protocol']}, {result['metric']}{at}"
        if label not in found or result.get("beside"):  # a training's own has nothing beside it
            found[label] = result
    return {
        f"{label}{_standing_beside(result)}": f"{result['value']:.3f}"
        for label, result in found.items()
    }


def _standing_beside(result: Mapping[str, Any]) -> str:
    said = [f"{name} {one['value']:.3f}" for name, one in result.get("beside", {}).items()]
    if not said:
        return " (manyviews evaluate adds baselines)"
    return f"; {', '.join(said)}"


def _levels(directory: Path, data: str) -> dict[str, dict[str, float]]:
    """Protocol -> raw pixels and the untrained encoder, on the labels that training was beside."""
    found: dict[str, dict[str, float]] = {}
    for path in Paths(directory).evaluations():
        result = read.read_evaluation(path)
        told = [result.get(name) for name in ("train_data", "layer", "step", "averaged")]
        if result and data and result.get("data") == data and not any(told):
            beside = {name: float(one["value"]) for name, one in result.get("beside", {}).items()}
            found.setdefault(str(result["protocol"]), {}).update(beside)
    return found


def _facts(assembly: Assembly) -> dict[str, str]:
    run, kept = assembly.run, assembly.method.encoders
    optim, sizes = run.optim, parts(run.encoders)
    peak = optim.lr * (run.data.batch_size / optim.lr_per if optim.lr_per else 1)
    encoders = [
        f"{config.name}, {sum(p.numel() for p in kept[name].parameters()) / 1e6:.2f} M parameters"
        for name, config in sizes.items()
    ]
    views = [
        f"{layout.count} {name} of {' x '.join(map(str, layout.shape))}"
        for name, layout in assembly.pipeline.makes.items()
    ]
    return {
        "method": type(assembly.method).__name__,
        "encoder": " + ".join(encoders),
        "features": " + ".join(str(encoder.dim) for encoder in kept.values()),
        "samples": f"{run.data.source}: {len(assembly.source):,}",
        "views": " + ".join(views),
        "batch": f"{run.data.batch_size}, {assembly.steps_per_epoch:,} steps an epoch",
        "optimiser": f"{optim.name}, peak lr {peak:.2g}, weight decay {optim.weight_decay:g}",
        "device": str(assembly.device),
        "seed": str(run.seed),
    }
