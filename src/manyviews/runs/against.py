"""A run's encoders held against those that it began from, or any others fed the same."""

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage] - all kinds

from manyviews.core import Encoder, Failure, UsageError
from manyviews.core.files import write_json
from manyviews.core.settings import parts
from manyviews.data import direct
from manyviews.diagnosis.against import (
    Against,
    ByLabels,
    judge_start,
    judge_untrained,
    measures,
)
from manyviews.evaluation.intervals import bootstrap
from manyviews.evaluation.knn import knn
from manyviews.runs.assemble import Assembly, embed_with, initial
from manyviews.runs.embedder import load_encoder
from manyviews.runs.folder import read
from manyviews.runs.folder.paths import Paths
from manyviews.runs.probe import LabelledProbe, Probes

log = logging.getLogger("manyviews")

SAMPLE = 500
"""Images that label-free measures are taken of."""
VIEWS = 4
"""Random views of each."""
UNTRAINED, START = "untrained", "start"
_AT_ONCE = 64
_NEIGHBOURS = 20


HeldAgainst = Mapping[str, Mapping[str, Against]]
"""UNTRAINED and START -> encoder -> what was found."""


def hold(
    assembly: Assembly, directory: Path, *, step: int, probes: Probes | None = None
) -> HeldAgainst:
    """Hold each encoder against what it was before, and write RUN/against.json.

    That is the same encoder untrained, rebuilt from the run's seed, and where the run began with
    weights the frozen start.

    Args:
        assembly: the run, its method as it was after `step`.
        directory: the run's.
        step: whose weights the method has.
        probes: labelled data, for each encoder.
    """
    others = {UNTRAINED: _untrained(assembly)}
    if assembly.run.start:
        try:
            others[START] = frozen(assembly, directory)
        except UsageError as error:
            log.warning("Nothing is held against the start. %s", error)
    found = {what: against(assembly, each, probes, what=what) for what, each in others.items()}
    told = {what: {n: one.to_json() for n, one in by.items()} for what, by in found.items()}
    try:
        write_json(Paths(directory).against, {"step": step, **told})
    except Failure as failure:
        log.warning("%s", failure)
    return found


def standing(assembly: Assembly, directory: Path, *, step: int) -> HeldAgainst:
    """As `hold`, or what it found of that step before."""
    return read_against(directory, step=step) or hold(assembly, directory, step=step)


def of(held: HeldAgainst, what: str, name: str = "") -> Against | None:
    """What was found of an encoder, "" for the first; None where nothing was."""
    by = held.get(what, {})
    return by.get(name) if name else next(iter(by.values()), None)


def _untrained(assembly: Assembly) -> dict[str, Encoder]:
    """A run's encoders before training, with normalisation layers that know the data.

    Their statistics are those of a few batches: with the initial ones, of no data at all, an
    untrained encoder looks worse than its random weights are.
    """
    with torch.random.fork_rng(devices=[]):
        found = {name: each.to(assembly.device) for name, each in initial(assembly.run).items()}
    for name, encoder in found.items():
        _settle(assembly, name, encoder)
    return found


@torch.no_grad()
def _settle(assembly: Assembly, name: str, encoder: Encoder) -> None:
    norms = _norms(encoder)
    if not norms:
        return
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    encoder.train()
    for where, plain, random in _seen(assembly, name, _index(assembly)[::2]):
        views = plain if random is None else random.flatten(0, 1)
        if len(where) > 1:
            encoder(views)
    encoder.eval()
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum


def _norms(encoder: Encoder) -> list[_BatchNorm]:
    """Its layers that keep statistics of the data."""
    return [m for m in encoder.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def frozen(assembly: Assembly, directory: Path) -> dict[str, Encoder]:
    """The encoders that a run began from, as its folder keeps them.

    Raises:
        UsageError: a file is missing or damaged.
    """
    names = list(assembly.method.encoders)
    files = {n: Paths(directory).start(n if len(names) > 1 else "") for n in names}
    return {name: load_encoder(file).encoder.to(assembly.device) for name, file in files.items()}


def against(
    assembly: Assembly, others: Mapping[str, Encoder], probes: Probes | None, *, what: str
) -> dict[str, Against]:
    """Hold a run's encoders against others of the same names that are fed the same.

    Args:
        assembly: the run, its method as it is now.
        others: name -> the other encoder, on the run's device.
        probes: labelled data, for each encoder.
        what: the others are, `UNTRAINED` or `START`.
    """
    judge = {UNTRAINED: judge_untrained, START: judge_start}[what]
    found: dict[str, Against] = {}
    for name, now in assembly.method.encoders.items():
        own = now
        if what == UNTRAINED and _norms(others[name]):
            # After few steps a moving average still holds what it began with, statistics of no
            # data, and features look other than the weights make them: by 0.02 of 0.08 in shared
            # neighbours after two steps of an autoencoder.
            weights = now.state_dict()
            now = copy.deepcopy(others[name])  # whose layers do not wait for other ranks
            now.load_state_dict(weights)
            _settle(assembly, name, now)
        two = [embed_with(each, assembly.device) for each in (others[name], now)]
        before, after = _measured(assembly, name, two)
        probe = (probes or {}).get(name if len(assembly.method.encoders) > 1 else "")
        with_labels = [two[0], embed_with(own, assembly.device)]  # as people will use it
        labelled = None if probe is None else _knn(probe, with_labels)
        found[name] = judge(before, after, labelled=labelled)
    return found


def read_against(directory: Path, *, step: int | None = None) -> dict[str, dict[str, Against]]:
    """RUN/against.json, of a step or of any; {} where it is missing, damaged or of another."""
    found = read.read_json(Paths(directory).against) if directory.is_dir() else {}
    if step is not None and found.get("step") != step:
        return {}
    try:
        return {
            what: {str(name): Against.from_json(one) for name, one in found[what].items()}
            for what in (UNTRAINED, START)
            if what in found
        }
    except (TypeError, AttributeError):
        return {}


def sentences(directory: Path) -> list[str]:
    """What RUN/against.json says, a sentence for each encoder and each that it is held against."""
    said: list[str] = []
    for by in read_against(directory).values():
        several = len(by) > 1
        said += [f"{n}: {one.sentence}" if several else one.sentence for n, one in by.items()]
    return said


def _measured(
    assembly: Assembly, name: str, two: list[Callable[[Tensor], Tensor]]
) -> list[dict[str, float]]:
    """The label-free measures of both, on the same views of the same images."""
    plain: list[list[Tensor]] = [[], []]
    views: list[list[Tensor]] = [[], []]
    for _, fixed, random in _seen(assembly, name, _index(assembly)):
        for k, embed in enumerate(two):
            plain[k].append(embed(fixed).cpu())
            if random is not None:
                flat = embed(random.flatten(0, 1)).cpu()
                views[k].append(flat.unflatten(0, random.shape[:2]))
    return [
        measures(torch.cat(plain[k]), torch.cat(views[k]) if views[k] else None) for k in range(2)
    ]


def _index(assembly: Assembly) -> list[int]:
    """The samples that are looked at, evenly spread."""
    count = len(assembly.source)
    return np.unique(np.linspace(0, count - 1, min(SAMPLE, count)).astype(int)).tolist()


def _seen(
    assembly: Assembly, name: str, index: list[int]
) -> Iterator[tuple[list[int], Tensor, Tensor | None]]:
    """Batches of samples: where they are, their plain views, and random ones where there are."""
    for start in range(0, len(index), _AT_ONCE):
        where, seen = assembly.look(index[start : start + _AT_ONCE])
        if where:
            yield where, seen[name][:, 0], _views(assembly, name, where)


def _views(assembly: Assembly, name: str, index: list[int]) -> Tensor | None:
    """[B, VIEWS, ...]: random views for an encoder at its own size, of as many epochs as needed.

    Several encoders may see one family, which is made for the first of them.
    """
    fed = assembly.method.encoders[name].input
    wanted = tuple(fed.shape)
    families = [family for family, plan in parts(assembly.run.views).items() if plan.to == name]
    families = families or [f for f, given in assembly.pipeline.inputs().items() if given == fed]
    made: list[Tensor] = []
    for epoch in range(VIEWS):
        where, raw, cues = direct.seen(assembly.source, assembly.pipeline, index, epoch=epoch)
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
