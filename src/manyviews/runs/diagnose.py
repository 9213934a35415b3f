"""What `diagnose` measures: what can be said of anybody's features without labels."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from torch import Tensor

from manyviews.core import Failure, UsageError
from manyviews.data.places import is_gone
from manyviews.data.sources import ImageSource, open_source
from manyviews.diagnosis import clid, dimension, grouping, lidar, neighbours, rank, uniformity
from manyviews.diagnosis import spectrum as spectra
from manyviews.diagnosis.bounds import entropy_reconstruction, infonce_bound
from manyviews.diagnosis.invariance import Bar, invariance
from manyviews.diagnosis.stability import graph_stability
from manyviews.diagnosis.verdict import choose
from manyviews.evaluation.clusters import nmi_purity
from manyviews.evaluation.labelled import open_labelled
from manyviews.runs import moved
from manyviews.runs.assemble import Assembly, assemble
from manyviews.runs.folder import read
from manyviews.runs.folder.read import saved_run
from manyviews.runs.look import TURNED, Look, Sight, see
from manyviews.training import checkpoint

log = logging.getLogger("manyviews")

TEMPERATURE = 0.1
"""Of the InfoNCE bound: SimCLR's."""
STRETCHES = 12
"""Of a training, whose logged numbers are averaged to see a trend."""
LOGGED = {"view_consistency": "consistency", "effective_rank": "rank_embedding"}
"""Measure -> its name in metrics.jsonl."""


def check_numbers(**given: int) -> None:
    """Refuse settings that are too small to measure anything."""
    least = {"sample": 20, "views": 2, "clusters": 2}
    for name, value in given.items():
        if value < least[name]:
            raise UsageError(f"--{name} is {value}; wanted {least[name]} or more.")


def assembly_of(directory: Path, data: str = "") -> Assembly:
    """A run at its newest checkpoint; where its own data are gone, on others."""
    settings = saved_run(directory)
    if is_gone(settings.data.source):
        settings = moved.at(settings, data)
    with moved.hint(settings):
        assembly = assemble(settings)
    newest = checkpoint.latest(directory / "checkpoints")
    if newest is None:
        raise UsageError(f"{directory} has no checkpoint yet. Train it first.")
    checkpoint.load(newest, method=assembly.method)
    return assembly


def source_of(
    data: str, labels: str, assembly: Assembly | None, look: Look, *, max_pixels: int
) -> tuple[ImageSource, Tensor | None]:
    """The images to look at, and labels where those were given."""
    if labels:
        if data:
            raise UsageError("--labels brings its own images. Leave out --data.")
        part = open_labelled(
            labels, channels=look.plain.channels, max_pixels=max_pixels, split="train"
        )
        return part.source, part.labels
    if data:
        return open_source(data, channels=look.plain.channels, max_pixels=max_pixels), None
    if assembly is None:
        raise UsageError("diagnose wants images for an encoder: add --data DIR.")
    return cast(ImageSource, assembly.source), None  # its one encoder is fed images


def measure(plain: Tensor, views: Tensor, *, clusters: int) -> dict[str, float]:
    """Every measure of one space, by the names of `explain.MEASURES`."""
    values = spectra.singular_values(plain)
    a, b = views[:, 0], views[:, 1]
    er = entropy_reconstruction(a, b)
    sphere = uniformity
    tried: dict[str, Callable[[], float]] = {
        "rankme": lambda: rank.rankme(plain),
        "effective_rank": lambda: rank.effective_rank(plain),
        "participation_ratio": lambda: rank.participation_ratio(plain),
        "alpha_req": lambda: spectra.alpha_req(values),
        "collapse_level": lambda: spectra.collapse_level(values),
        "lidar": lambda: lidar.lidar(views),
        "cluster_learnability": lambda: clid.cluster_learnability(plain, clusters=clusters),
        "twonn": lambda: neighbours.twonn(plain),
        "mst_dimension": lambda: dimension.mst_dimension(plain),
        "std": lambda: sphere.feature_std(plain),
        "cosine": lambda: sphere.mean_cosine(plain),
        "alignment": lambda: sphere.alignment(a, b),
        "uniformity": lambda: sphere.uniformity(plain),
        "view_consistency": lambda: neighbours.view_consistency(a, b),
        "infonce_bound": lambda: infonce_bound(a, b, temperature=TEMPERATURE).bound,
        "entropy_joe": lambda: er.entropy_joe,
        "entropy_plugin": lambda: er.entropy_plugin,
        "reconstruction": lambda: er.reconstruction,
        "er_bound": lambda: er.bound,
        "cluster_stability": lambda: grouping.stability(plain, clusters=clusters),
        "cluster_consistency": lambda: grouping.consistency(a, b, clusters=clusters).above_chance,
    }
    found: dict[str, float] = {}
    for name, compute in tried.items():
        try:
            found[name] = compute()
        except UsageError as error:  # one measure that cannot be had costs that measure
            log.info("%s is left out: %s", name, error)
    return found


def bars_of(sight: Sight) -> dict[str, dict[str, Bar]]:
    """Space -> augmentation -> what it changes."""
    found: dict[str, dict[str, Bar]] = {}
    for space, by in sight.changed.items():
        try:
            found[space] = invariance(sight.plain[space][: len(next(iter(by.values())))], by)
        except UsageError as error:  # a collapsed space has no distances to compare with
            log.info("the invariance of the %s is left out: %s", space, error)
    return found


def groups_of(
    plain: Tensor, labels: Tensor | None, rows: Sequence[int], *, clusters: int
) -> dict[str, float]:
    """k-means clusters against labels, where those were given."""
    if labels is None:
        return {}
    found = grouping.kmeans(uniformity.unit(plain), clusters=clusters, restarts=5)
    nmi, purity = nmi_purity(found.assignment, labels[list(rows)])
    return {"nmi": nmi, "purity": purity, "clusters": float(clusters)}


def logged(directory: Path) -> list[tuple[int, Mapping[str, float]]]:
    """The health numbers of a run, averaged over twelve stretches of it."""
    records = [r for r in read.read_metrics(directory) if r.get("kind") == "health"]
    latest = {int(r["step"]): r for r in records}  # a resumed run repeats some
    history: list[tuple[int, Mapping[str, float]]] = []
    for part in np.array_split(sorted(latest), min(STRETCHES, len(latest)) or 1):
        numbers: dict[str, float] = {}
        for name, logged in LOGGED.items():
            values = [v for step in part if (v := latest[int(step)].get(logged)) is not None]
            if values:
                numbers[name] = float(np.mean(values))
        if numbers:
            history.append((int(part[-1]), numbers))
    return history


def best_of(history: Sequence[tuple[int, Mapping[str, float]]]) -> int | None:
    """The checkpoint to keep; None where there is no choice, or all have collapsed."""
    if len(history) < 2:
        return None
    try:
        return choose(dict(history))
    except UsageError as error:
        log.warning("%s", error)
        return None


def checkpoints_of(
    assembly: Assembly, directory: Path, look: Look, source: ImageSource, sight: Sight
) -> list[tuple[int, Mapping[str, float]]]:
    """(step, numbers) of every checkpoint that a run kept, on the same images."""
    folder = directory / "checkpoints"
    steps = sorted(
        checkpoint.step_of(path) for path in folder.glob("step_*") if path.name[5:].isdigit()
    )
    history: list[tuple[int, Mapping[str, float]]] = []
    before: Tensor | None = None
    if len(steps) < 2:
        return history
    index = np.array(sight.rows[:TURNED], dtype=np.int64)
    for step in steps:
        try:
            checkpoint.load(checkpoint.path_of(folder, step), method=assembly.method)
        except (Failure, checkpoint.Damaged) as error:
            log.warning("%s", error)
            continue
        seen = see(replace(look, assign=None), source, index, views=4)
        plain, views = seen.plain["encoder"], seen.views["encoder"]
        numbers = {
            "lidar": lidar.lidar(views),
            "rankme": rank.rankme(plain),
            "effective_rank": rank.effective_rank(plain),
            "view_consistency": neighbours.view_consistency(views[:, 0], views[:, 1]),
            "alignment": uniformity.alignment(views[:, 0], views[:, 1]),
            "uniformity": uniformity.uniformity(plain),
            "cosine": uniformity.mean_cosine(plain),
            "width": float(plain.shape[1]),
        }
        if before is not None:
            numbers["graph_stability"] = graph_stability(before, plain, k=min(20, len(plain) - 1))
        before = plain
        history.append((step, numbers))
    return history
