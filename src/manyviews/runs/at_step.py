"""A run's encoder as it was at a checkpoint: `--step N` or `--step best`."""

import logging
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from manyviews.core import Method, UsageError
from manyviews.core.settings import parts
from manyviews.encoders.headed import Headed, first_layers
from manyviews.methods import catalog
from manyviews.runs.diagnose import assembly_of, best_of, checkpoints_of, encoders_of
from manyviews.runs.embedder import Embedder, load_encoder, save_encoder
from manyviews.runs.folder import read
from manyviews.runs.folder.paths import Paths
from manyviews.runs.look import look_at_method
from manyviews.runs.subject import encoder_file, open_subject
from manyviews.runs.teachers import unloaded
from manyviews.training import checkpoint

log = logging.getLogger("manyviews")

BEST = "best"


def open_at(
    run: str | Path, *, step: str = "", which: str = "", head: int = 0, **options: Any
) -> Embedder:
    """As `runs.subject.open_subject`, of a run also at a checkpoint.

    Args:
        run: as there.
        step: of a checkpoint, or "best"; "" for the run's own file.
        which: as there.
        head: layers of the projection head that belong to the encoder, see `Headed`; of the last
            checkpoint where no step is given.
        options: as there.

    Raises:
        UsageError: as there, or there is no such checkpoint, or no such head.
        Failure: as there.
    """
    if head:
        return _with_head(Path(run), step, which, head)
    if not step:
        return open_subject(run, which=which, **options)
    with file_of(run, which, step) as file:
        return open_subject(file, **options)


@contextmanager
def file_of(run: str | Path, which: str = "", step: str = "") -> Generator[Path]:
    """The encoder's file that a RUN argument names; of a checkpoint one that is gone afterwards.

    Args:
        run: a run directory, or with no `step` the file itself.
        which: of a run with several encoders, the one that is meant.
        step: of a checkpoint, or "best"; "" for the run's own file.

    Raises:
        UsageError: there is no such run, encoder or checkpoint.
    """
    if not step:
        yield encoder_file(run, which)
        return
    directory = Path(run)
    number = step_of(directory, step, which)
    with tempfile.TemporaryDirectory() as folder:
        file = Paths(Path(folder)).encoder()
        _write(directory, number, which, file)
        yield file


def step_of(directory: Path, step: str, which: str = "") -> int:
    """The step of a checkpoint that a run has kept.

    Args:
        directory: the run.
        step: a number, or "best" for what label-free measures choose.
        which: of several encoders, the one whose measures choose.

    Raises:
        UsageError: it is no run, or has no such checkpoint.
    """
    if not read.is_run(directory):
        raise UsageError(f"--step {step} is for a run directory, and {directory} is none.")
    kept = [number for number in checkpoint.steps(Paths(directory).checkpoints) if number > 0]
    if not kept:
        raise UsageError(f"{directory} has no checkpoint yet. Train it first.")
    if step != BEST and (not step.isdecimal() or int(step) not in kept):
        known = ", ".join(map(str, kept))
        raise UsageError(f"--step {step} was not kept. Give one of {known}, or best.")
    chosen = int(step) if step != BEST else kept[0]
    if step == BEST and len(kept) > 1:
        chosen = _best(directory, which, kept)
    try:
        checkpoint.verify(checkpoint.path_of(Paths(directory).checkpoints, chosen))
    except checkpoint.Damaged as damage:
        raise UsageError(f"Checkpoint {damage}. Give another --step.") from None
    return chosen


def _best(directory: Path, which: str, kept: list[int]) -> int:
    """What the diagnosis chose, where it saw these checkpoints; else what it would choose."""
    known = read.read_diagnosis(directory, which)
    seen = sorted(int(step) for step in known.get("checkpoints", {}) if int(step) > 0)
    best = known.get("best")
    if seen != kept or best not in kept:
        assembly = assembly_of(directory)
        look = look_at_method(assembly, which)
        rows = range(len(assembly.source))
        best = best_of(checkpoints_of(assembly, directory, look, assembly.source, rows))
    if best is None:
        raise UsageError(f"No checkpoint of {directory} can be called best. Give a number.")
    log.info("step %d looks best of %s", best, ", ".join(map(str, kept)))
    return best


def _write(directory: Path, step: int, which: str, file: Path) -> None:
    """The encoder of a checkpoint, as the run would have written it; its data are not needed."""
    run, names = read.saved_run(directory), encoders_of(directory, which)
    if len(names) > 1:
        raise UsageError(
            f"{directory} has several encoders, {' and '.join(names)}. Add --which {names[0]}."
        )
    configs, method = parts(run.encoders), _method(directory)
    name = which or next(iter(configs))
    checkpoint.load(checkpoint.path_of(Paths(directory).checkpoints, step), method=method)
    info = {"method": catalog.name_of(run.method), "recipe": run.recipe, "step": str(step)}
    save_encoder(file, method.encoders[name], config=configs[name], info=info)


def _with_head(directory: Path, step: str, which: str, count: int) -> Embedder:
    """The trained encoder of a checkpoint with the first layers of the head on it."""
    if not read.is_run(directory):
        raise UsageError(f"--head-layers {count} is for a run directory, and {directory} is none.")
    kept = checkpoint.steps(Paths(directory).checkpoints)
    number = step_of(directory, step or str(max(kept, default="")), which)
    with file_of(directory, which, str(number)) as file:
        found = load_encoder(file)
    run, method = read.saved_run(directory), _method(directory)
    checkpoint.load(checkpoint.path_of(Paths(directory).checkpoints, number), method=method)
    online = getattr(method, "online", None)
    head = getattr(online, "head", getattr(method, "projector", None))
    name = catalog.name_of(run.method)
    if not isinstance(head, nn.Sequential):
        raise UsageError(f"{name} has no projection head of layers. Leave out --head-layers.")
    try:
        layers, dim = first_layers(head, count)
    except ValueError as error:
        raise UsageError(
            f"--head-layers is {count} and the head of {name} has {error} layers. Give less, or "
            "train with a deeper head."
        ) from None
    encoder = (
        getattr(online, "encoder", None)
        or method.encoders[which or next(iter(parts(run.encoders)))]
    )
    return Embedder(Headed(encoder, layers, dim), found.about)


def _method(directory: Path) -> Method:
    """A run's method, with random weights."""
    return unloaded(read.saved_run(directory), samples=int(read.read_began(directory)["images"]))
