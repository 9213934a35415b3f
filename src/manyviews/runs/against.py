"""A run's encoders held against those that it began from, or any others fed the same."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyviews.core import Encoder, Failure, UsageError
from manyviews.core.files import write_json
from manyviews.core.settings import parts
from manyviews.data import loader
from manyviews.diagnosis.against import Against, ByLabels, judge, measures
from manyviews.evaluation.intervals import bootstrap
from manyviews.evaluation.knn import knn
from manyviews.runs.assemble import Assembly, embed_with
from manyviews.runs.embedder import load_encoder
from manyviews.runs.folder import read
from manyviews.runs.folder.paths import Paths
from manyviews.runs.probe import LabelledProbe, Probes

log = logging.getLogger("manyviews")

SAMPLE = 500
"""Images that label-free measures are taken of."""
VIEWS = 4
"""Random views of each."""
_AT_ONCE = 64
_NEIGHBOURS = 20


def with_start(assembly: Assembly, directory: Path, probes: Probes | None) -> dict[str, Against]:
    """Hold each encoder against its frozen start, and write RUN/start.json.

    Returns:
        Encoder -> what was found; empty where the run began with random weights.
    """
    if not assembly.run.start:
        return {}
    try:
        began = frozen(assembly, directory)
    except UsageError as error:
        log.warning("Nothing is held against the start. %s", error)
        return {}
    found = against(assembly, began, probes, what="the frozen start", than="where you began")
    try:
        write_json(Paths(directory).against, {name: one.to_json() for name, one in found.items()})
    except Failure as failure:
        log.warning("%s", failure)
    return found


def frozen(assembly: Assembly, directory: Path) -> dict[str, Encoder]:
    """The encoders that a run began from, as its folder keeps them.

    Raises:
        UsageError: a file is missing or damaged.
    """
    names = list(assembly.method.encoders)
    files = {n: Paths(directory).start(n if len(names) > 1 else "") for n in names}
    return {name: load_encoder(file).encoder.to(assembly.device) for name, file in files.items()}


def against(
    assembly: Assembly,
    others: Mapping[str, Encoder],
    probes: Probes | None,
    *,
    what: str,
    than: str,
) -> dict[str, Against]:
    """Hold a run's encoders against others of the same names that are fed the same.

    Args:
        assembly: the run, its method as it is now.
        others: name -> the other encoder, on the run's device.
        probes: labelled data, for each encoder.
        what: the others in words: "the frozen start".
        than: likewise, in "better than where you began".
    """
    found: dict[str, Against] = {}
    for name, now in assembly.method.encoders.items():
        two = [embed_with(each, assembly.device) for each in (others[name], now)]
        numbers = _measured(assembly, name, two)
        probe = (probes or {}).get(name if len(assembly.method.encoders) > 1 else "")
        labelled = None if probe is None else _knn(probe, two)
        found[name] = judge(*numbers, what=what, than=than, labelled=labelled)
    return found


def read_against(directory: Path) -> dict[str, dict[str, Any]]:
    """RUN/start.json: encoder -> `Against.to_json`; {} where it is missing or damaged."""
    found = read.read_json(Paths(directory).against) if directory.is_dir() else {}
    whole = all(
        isinstance(one, dict) and isinstance(one.get("sentence"), str) and one.get("light")
        for one in found.values()
    )
    return found if whole else {}


def sentences(directory: Path) -> list[str]:
    """What RUN/start.json says, a sentence for each encoder."""
    found = read_against(directory)
    several = len(found) > 1
    return [f"{n}: {one['sentence']}" if several else one["sentence"] for n, one in found.items()]


def _measured(
    assembly: Assembly, name: str, two: list[Callable[[Tensor], Tensor]]
) -> list[dict[str, float]]:
    """The label-free measures of both, on the same views of the same images."""
    count = len(assembly.source)
    index = np.unique(np.linspace(0, count - 1, min(SAMPLE, count)).astype(int)).tolist()
    plain: list[list[Tensor]] = [[], []]
    views: list[list[Tensor]] = [[], []]
    for start in range(0, len(index), _AT_ONCE):
        where, seen = assembly.look(index[start : start + _AT_ONCE])
        if not where:
            continue
        random = _views(assembly, name, where)
        for k, embed in enumerate(two):
            plain[k].append(embed(seen[name][:, 0]).cpu())
            if random is not None:
                flat = embed(random.flatten(0, 1)).cpu()
                views[k].append(flat.unflatten(0, random.shape[:2]))
    return [
        measures(torch.cat(plain[k]), torch.cat(views[k]) if views[k] else None) for k in range(2)
    ]


def _views(assembly: Assembly, name: str, index: list[int]) -> Tensor | None:
    """[B, VIEWS, ...]: random views for an encoder at its own size, of as many epochs as needed."""
    wanted = tuple(assembly.method.encoders[name].input.shape)
    families = [family for family, plan in parts(assembly.run.views).items() if plan.to == name]
    made: list[Tensor] = []
    for epoch in range(VIEWS):
        where, raw, cues = loader.seen(assembly.source, assembly.pipeline, index, epoch=epoch)
        tensors = {family: torch.from_numpy(view) for family, view in raw.items()}
        hints = {cue: torch.from_numpy(np.ascontiguousarray(c)) for cue, c in cues.items()}
        batch = assembly.pipeline.finish(tensors, hints, torch.tensor(where), assembly.device)
        own = [batch.views[f] for f in families if f in batch.views]
        fit = [view for view in own if tuple(view.shape[2:]) == wanted]
        if len(where) != len(index) or not fit:
            return None
        made.append(fit[0])
        if sum(view.shape[1] for view in made) >= VIEWS:
            break
    return torch.cat(made, dim=1)[:, :VIEWS]


def _knn(probe: LabelledProbe, two: list[Callable[[Tensor], Tensor]]) -> ByLabels | None:
    """Nearest neighbours of both on the same test images; the interval is over those."""
    if probe.test.several:
        return None
    right: list[Tensor] = []
    for embed in two:
        split = probe.split(embed)
        k = min(_NEIGHBOURS, len(split.train_x))
        right.append(knn(split.train_x, split.train_y, split.test_x, k=k) == split.test_y)
    before, after = (one.double() for one in right)
    change = bootstrap(after - before)
    return ByLabels(
        "kNN", float(before.mean()), float(after.mean()), change.value, change.low, change.high
    )
