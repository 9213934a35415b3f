"""What `diagnose` measures: what can be said of anybody's features without labels."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from manyviews.core import Failure, UsageError
from manyviews.core.files import write_json
from manyviews.core.inputs import image_channels
from manyviews.core.nouns import noun_of
from manyviews.core.progress import bar, phase
from manyviews.core.sample import Source
from manyviews.core.settings import parts
from manyviews.data.places import is_gone
from manyviews.data.sources import open_data
from manyviews.diagnosis import clid, dimension, grouping, lidar, neighbours, rank, uniformity
from manyviews.diagnosis import spectrum as spectra
from manyviews.diagnosis.bounds import entropy_reconstruction, infonce_bound
from manyviews.diagnosis.course import choose
from manyviews.diagnosis.invariance import Bar, invariance
from manyviews.diagnosis.prototypes import prototype_usage
from manyviews.diagnosis.result import Diagnosed
from manyviews.diagnosis.stability import graph_stability
from manyviews.diagnosis.state import state_of
from manyviews.diagnosis.verdict import Evidence, verdict
from manyviews.evaluation.clusters import nmi_purity
from manyviews.evaluation.labelled import open_labelled
from manyviews.runs import moved
from manyviews.runs.against import UNTRAINED, HeldAgainst, of, standing
from manyviews.runs.assemble import Assembly, assemble
from manyviews.runs.dse import structure_of
from manyviews.runs.embedder import Embedder
from manyviews.runs.folder.paths import Paths
from manyviews.runs.folder.read import is_run, saved_run
from manyviews.runs.geometry import geometry_of
from manyviews.runs.look import Look, Sight, look_at_encoder, look_at_method, see
from manyviews.runs.verdict import verdict_of
from manyviews.training import checkpoint

log = logging.getLogger("manyviews")

COMPARED = 256
"""Samples that checkpoints are compared on."""
TEMPERATURE = 0.1
"""Of the InfoNCE bound: SimCLR's."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What `diagnose` was asked for; see the verb."""

    run: str
    data: str
    labels: str
    sample: int
    views: int
    clusters: int
    max_pixels: int


def diagnose_subject(asked: Asked, subject: Embedder) -> Diagnosed:
    """Look at an encoder alone."""
    found = _diagnosed(asked, look_at_encoder(subject))
    return _kept(replace(found, encoder=_of_file(asked.run)), Path(asked.run))


def diagnose_run(asked: Asked, name: str) -> Diagnosed:
    """Look at an encoder of a run and its checkpoints; "" is the only one."""
    assembly = assembly_of(Path(asked.run), asked.data)
    found = _diagnosed(asked, look_at_method(assembly, name), assembly, name)
    step = checkpoint.step_of(newest_of(Path(asked.run)))
    return _kept(replace(found, encoder=_of_run(assembly, name, step)), Path(asked.run), name)


def _of_run(assembly: Assembly, name: str, step: int) -> str:
    """Which encoder of a run is looked at; "" is the only one."""
    which = f"encoder {name!r}" if name else "encoder"
    if step:
        return f"trained {which}, step {step:,}"
    return f"frozen start, {which}" if assembly.run.start else f"untrained {which}"


def _of_file(spec: str) -> str:
    """Which encoder a file or a name stands for."""
    path = Path(spec)
    frozen = is_run(path.parent) and path.name.startswith(Paths(path.parent).start("").stem)
    return f"frozen start of {path.parent}" if frozen else f"encoder {spec}"


def _diagnosed(
    asked: Asked, look: Look, assembly: Assembly | None = None, name: str = ""
) -> Diagnosed:
    directory = Path(asked.run)
    source, given = samples_of(
        asked.data, asked.labels, assembly, look, max_pixels=asked.max_pixels
    )
    index = np.linspace(0, len(source) - 1, min(asked.sample, len(source))).astype(np.int64)
    index = np.unique(index)
    with bar("looking") as tell:
        sight = see(look, source, index, views=asked.views, tell=tell)
    first = next(iter(sight.plain))
    clusters = min(asked.clusters, max(2, len(sight.rows) // 5))
    with phase("measuring"):
        spaces = {
            space: measure(plain, sight.views[space], clusters=clusters)
            for space, plain in sight.plain.items()
        }
        spaces[first] |= structure_of(look, source, sight.rows)
    shares = sight.assignment
    usage = prototype_usage(shares) if shares is not None and shares.shape[1] > 1 else None
    said = {"target_entropy": math.nan, "usage_entropy": math.nan}
    if usage is not None:
        said = {"target_entropy": usage.target_entropy, "usage_entropy": usage.usage_entropy}
    noun = noun_of(source.streams)
    state = state_of(sight.plain[first], **said, noun=noun)
    history = checkpoints_of(assembly, directory, look, source, sight.rows) if assembly else []
    best = best_of(history)
    judged, untrained, geometry = verdict(Evidence(state=state, noun=noun)), None, None
    if assembly is not None:
        with phase("holding it against the untrained encoder"):
            step, held = _standing(assembly, directory)
        judged = verdict_of(
            assembly, directory, state, held, step=step, name=name, history=history, best=best
        )
        untrained = of(held, UNTRAINED, name)
        geometry = geometry_of(assembly, directory, look, source, sight.rows, name=name)
    return Diagnosed(
        run=asked.run,
        data=asked.labels or asked.data or (assembly.run.data.source if assembly else ""),
        images=len(sight.rows),
        verdict=judged,
        state=state,
        best=best,
        checkpoints={step: dict(numbers) for step, numbers in history},
        spaces=spaces,
        invariance=bars_of(sight),
        prototypes=usage,
        groups=groups_of(sight.plain[first], given, sight.rows, clusters=clusters),
        untrained={} if untrained is None else untrained.before,
        trained={} if untrained is None else untrained.after,
        geometry=geometry,
        noun=noun,
    )


def _standing(assembly: Assembly, directory: Path) -> tuple[int, HeldAgainst]:
    """The newest checkpoint's step, whose weights are loaded anew, and what it is held against."""
    newest = newest_of(directory)
    checkpoint.load(newest, method=assembly.method)
    step = checkpoint.step_of(newest)
    return step, standing(assembly, directory, step=step)


def _kept(found: Diagnosed, directory: Path, name: str = "") -> Diagnosed:
    """Written to the run, or with the reason why it is not."""
    if directory.is_dir():
        try:
            write_json(Paths(directory).diagnosis(name), found.to_json())
        except Failure as failure:
            found = replace(found, unsaved=f"{failure} The diagnosis is not kept.")
            log.warning("%s", found.unsaved)
    return found


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
    checkpoint.load(newest_of(directory), method=assembly.method)
    return assembly


def newest_of(directory: Path) -> Path:
    """A run's newest checkpoint.

    Raises:
        UsageError: it has none.
    """
    newest = checkpoint.latest(Paths(directory).checkpoints)
    if newest is None:
        raise UsageError(f"{directory} has no checkpoint yet. Train it first.")
    return newest


def encoders_of(directory: Path, which: str) -> list[str]:
    """Which encoders of a run to look at: "" is the only one.

    Raises:
        UsageError: there is none of that name.
    """
    names = list(parts(saved_run(directory).encoders))
    if which and (which not in names or len(names) == 1):
        there = f"its encoders are {' and '.join(names)}" if len(names) > 1 else "it has one"
        raise UsageError(
            f"{directory} has no encoder '{which}'; {there}. Set or leave out --which."
        )
    return [which] if which else names if len(names) > 1 else [""]


def samples_of(
    data: str, labels: str, assembly: Assembly | None, look: Look, *, max_pixels: int
) -> tuple[Source, Tensor | None]:
    """The samples to look at, and labels where those were given."""
    streams, channels = look.fixed.streams, image_channels(look.input)
    if labels:
        if data:
            raise UsageError("--labels brings its own data. Leave out --data.")
        part = open_labelled(
            labels, channels=channels, max_pixels=max_pixels, split="train", streams=streams
        )
        return part.source, part.labels
    if data:
        return open_data(data, streams, channels=channels, max_pixels=max_pixels), None
    if assembly is None:
        raise UsageError("diagnose wants data for an encoder: add --data DIR.")
    return assembly.source, None


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
        "shared_neighbours": lambda: neighbours.shared_neighbours(a, b),
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
    if not sight.changed:
        log.info("single changes are left out: there are none of what this encoder is fed.")
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


def best_of(history: Sequence[tuple[int, Mapping[str, float]]]) -> int | None:
    """The checkpoint to keep; None where there is no choice, or all have collapsed.

    The initial weights are not among them: whether anything was learnt is another question.
    """
    trained = {step: numbers for step, numbers in history if step > 0}
    if len(trained) < 2:
        return None
    try:
        return choose(trained)
    except UsageError as error:
        log.warning("%s", error)
        return None


def checkpoints_of(
    assembly: Assembly, directory: Path, look: Look, source: Source, rows: Sequence[int]
) -> list[tuple[int, Mapping[str, float]]]:
    """(step, numbers) of every checkpoint that a run kept, on the same samples."""
    folder = Paths(directory).checkpoints
    steps = checkpoint.steps(folder)
    history: list[tuple[int, Mapping[str, float]]] = []
    before: Tensor | None = None
    if len(steps) < 2:
        return history
    some = np.linspace(0, len(rows) - 1, min(COMPARED, len(rows))).astype(np.int64)
    index = np.array(rows, dtype=np.int64)[some]
    with bar("checkpoints") as tell:
        for done, step in enumerate(steps, 1):
            try:
                checkpoint.load(checkpoint.path_of(folder, step), method=assembly.method)
            except (Failure, checkpoint.Damaged) as error:
                log.warning("%s", error)
                continue
            alone = replace(look, altered={}, assign=None, project=None)
            seen = see(alone, source, index, views=4)
            numbers, plain = _numbers(seen), seen.plain["encoder"]
            numbers |= structure_of(look, source, seen.rows)
            if before is not None:
                k = min(20, len(plain) - 1)
                numbers["graph_stability"] = graph_stability(before, plain, k=k)
            before = plain
            history.append((step, numbers))
            tell(done, len(steps))
    return history


def _numbers(seen: Sight) -> dict[str, float]:
    """What is followed from checkpoint to checkpoint."""
    plain, views = seen.plain["encoder"], seen.views["encoder"]
    return {
        "lidar": lidar.lidar(views),
        "rankme": rank.rankme(plain),
        "effective_rank": rank.effective_rank(plain),
        "view_consistency": neighbours.view_consistency(views[:, 0], views[:, 1]),
        "alignment": uniformity.alignment(views[:, 0], views[:, 1]),
        "uniformity": uniformity.uniformity(plain),
        "cosine": uniformity.mean_cosine(plain),
        "width": float(plain.shape[1]),
    }
