"""What a training begins from: a run, an encoder's file, timm's or another project's weights.

All of it is read and held against the run's own pieces before the first number is copied, so a
start that does not fit changes nothing.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from manyviews import encoders
from manyviews.core import Encoder, Failure, Method, UsageError, comm
from manyviews.core.sample import Source
from manyviews.core.settings import parts
from manyviews.data.places import contents
from manyviews.encoders import file
from manyviews.encoders.transfer import fitted
from manyviews.encoders.weights import load as load_into
from manyviews.encoders.weights import network, open_weights
from manyviews.evaluation.features import fingerprint
from manyviews.methods import catalog
from manyviews.runs.folder import read
from manyviews.runs.folder.paths import Paths
from manyviews.runs.settings import AnyRun
from manyviews.runs.subject import TIMM, described, open_subject
from manyviews.runs.teachers import unloaded
from manyviews.runs.units import differs, put, units
from manyviews.training import checkpoint

log = logging.getLogger("manyviews")

FORMS = "timm:NAME, a run directory, an encoder.safetensors, or another project's checkpoint"
"""What `--start` takes, for messages."""


@dataclass(frozen=True)
class Start:
    """Weights to begin from, read and not yet put anywhere.

    Attributes:
        spec: as the user named it.
        digest: of the weights.
        encoders: name -> encoder; one from a file has the name "".
        method: of a run, whole.
        kind: name of that method.
        data: of what it was trained on, the digest and the hash of the contents.
        said: what its reading has to say.
    """

    spec: str
    digest: str
    encoders: Mapping[str, Encoder]
    method: Method | None = None
    kind: str = ""
    data: tuple[str, str] = ("", "")
    said: tuple[str, ...] = ()

    def into_encoders(self, ours: Mapping[str, Encoder]) -> list[str]:
        """Give encoders their weights, before a method makes slow copies of them.

        Args:
            ours: the run's, changed in place. Those that the start has no weights for stay.

        Returns:
            What was taken, resized and left, a line each.

        Raises:
            UsageError: an encoder has another architecture; none has changed then.
        """
        pairs = paired(self.encoders, ours, self.spec)
        moves = [
            (name, network(ours[name]), self._fitted(theirs, ours[name], name))
            for name, theirs in pairs.items()
        ]
        lines: list[str] = []
        for name, target, moved in moves:
            target.load_state_dict(moved.state)
            lines.append(f"{len(moved.state)} tensors of the encoder {name!r} taken")
            lines += [moved.resized] if moved.resized else []
        left = [name for name in ours if name not in pairs]
        lines += [
            f"the encoder {name!r} is not in it and begins with random weights" for name in left
        ]
        if self.method is not None:
            lines.append(f"heads and all else of {self.kind} left: this is another method")
        return [*self.said, *lines]

    def into_method(self, ours: Method, *, same_data: bool) -> list[str]:
        """Give a method the whole state of another of its kind, or of one that it follows.

        Slow copies and banks are included.

        Encoders have to fit. Of the rest a head is taken whole, or left where any of it has another
        shape; then memories are left too, since they hold what other heads made. What is of certain
        samples (`of_samples`) is left on other data.

        Args:
            ours: changed in place.
            same_data: whether it learns from what the other learnt from.

        Raises:
            UsageError: an encoder has another architecture; nothing has changed then.
        """
        assert self.method is not None
        theirs = dict(self.method.named_modules())
        copies: list[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]] = []
        taken: dict[str, int] = {}
        resized: dict[str, None] = {}
        for path, module in ours.named_modules():
            if isinstance(module, Encoder):
                other = theirs.get(path)
                if not isinstance(other, Encoder):
                    raise UsageError(f"{self._refusal(path)}: it has none there. {_ADVICE}")
                moved = self._fitted(other, module, path)
                copies.append((network(module).state_dict(keep_vars=True), moved.state))
                resized |= {moved.resized: None} if moved.resized else {}
                taken[path] = len(moved.state)
        here, there = units(ours), units(self.method)
        left = {
            path: differs(unit, there.get(path), same_data=same_data) for path, unit in here.items()
        }
        if any(left[path] and unit.learns and not unit.of_samples for path, unit in here.items()):
            memories = [path for path, unit in here.items() if not unit.learns]
            left |= {path: left[path] or "made by heads that are left" for path in memories}
        left |= {path: "there is no place for it here" for path in there if path not in here}
        for path, unit in here.items():
            if not left[path]:
                copies.append((unit.tensors, there[path].tensors))
                taken[path] = len(unit.tensors)
        for live, state in copies:
            put(live, state)
        said = ", ".join(f"{name} ({count})" for name, count in taken.items())
        lines = [f"left: {path}: {why}" for path, why in left.items() if why]
        return [*self.said, f"taken: {said}", *resized, *lines]

    def knows(self, source: Source) -> bool:
        """Whether it was trained on what is in a source, however often that was copied since."""
        digest, held = self.data
        return source.digest == digest or (bool(held) and contents(source) == held)

    def _fitted(self, theirs: Encoder, ours: Encoder, name: str) -> Any:
        try:
            return fitted(theirs, ours)
        except UsageError as error:
            raise UsageError(f"{self._refusal(name)}: {error}. {_ADVICE}") from None

    def _refusal(self, name: str) -> str:
        return f"--start {self.spec} holds another encoder than this run's {name!r}"


_ADVICE = "Leave out settings of the encoder, so that they follow from the start."


def wants_name(spec: str) -> bool:
    """Whether a start is another project's checkpoint, which does not say what network it holds."""
    path = Path(spec)
    return not spec.startswith(TIMM) and path.is_file() and not ours(path)


def configs_of(spec: str, *, name: str = "", image_size: int = 0) -> dict[str, Any]:
    """Settings of the encoders that a start holds, by name; one from a file has the name "".

    Args:
        spec: see `FORMS`.
        name: the architecture of another project's checkpoint, as timm calls it.
        image_size: side in pixels that such a checkpoint is to be used at; 0 takes its own.

    Raises:
        UsageError: there is no such start, or it does not say what network it holds.
        Failure: timm cannot get the weights.
    """
    path = Path(spec)
    if spec.startswith(TIMM):
        return {"": open_subject(spec).config}
    if read.is_run(path):
        return parts(read.saved_run(path).encoders)
    _check_there(path)
    if ours(path):
        return {"": file.read(path)[0].encoder}
    if not name:
        raise UsageError(
            f"--start {spec} does not say what network it holds. Name it: --encoder.name NAME "
            "(see `manyviews list encoders`)."
        )
    found = described(open_weights(path), name, image_size)
    log.info("start: %s", found.line)
    return {"": found.about.encoder}


def open_start(run: AnyRun) -> Start:
    """Read all that a run begins from.

    Raises:
        UsageError: there is no such start, or it cannot be read or used.
        Failure: timm cannot get the weights.
    """
    spec = run.start
    path = Path(spec)
    if spec.startswith(TIMM):
        subject = open_subject(spec)
        return Start(spec, fingerprint(subject.encoder), {"": subject.encoder})
    if read.is_run(path):
        return _of_run(spec, path)
    _check_there(path)
    if ours(path):
        about, state = file.read(path)
        encoder = _built(about.encoder)
        try:
            network(encoder).load_state_dict(state)
        except RuntimeError:
            raise UsageError(
                f"--start {spec} is damaged: its weights are not those that it describes. "
                "Export it again from its run."
            ) from None
        return Start(spec, _hash(path), {"": encoder})
    return _of_project(run, path)


def digest_of(spec: str) -> str:
    """Of a start's weights as they are now; "" where that would need them all read, or is gone."""
    path = Path(spec)
    if read.is_run(path):
        newest = checkpoint.newest(Paths(path).checkpoints)
        return "" if newest is None else checkpoint.noted(newest)
    return _hash(path) if path.is_file() else ""


def say_if_changed(directory: Path, run: AnyRun) -> None:
    """Warn where a run's start is not what it began from; the run does not need it any more."""
    before = str(read.read_began(directory).get("start", ""))
    if comm.rank() > 0 or not run.start or not before or run.start.startswith(TIMM):
        return
    now = digest_of(run.start)
    if now != before:
        how = "has changed" if now else "is gone"
        log.warning(
            "%s %s since %s began from it. Training goes on from the run's own checkpoint.",
            run.start,
            how,
            directory,
        )


def paired(theirs: Mapping[str, Any], ours: Mapping[str, Any], spec: str) -> dict[str, Any]:
    """Our name -> what the start has for it: one for one whatever its name, several by name.

    Raises:
        UsageError: the start has none of ours.
    """
    if len(theirs) == 1 and len(ours) == 1:
        return dict(zip(ours, theirs.values(), strict=True))
    found = {name: value for name, value in theirs.items() if name in ours}
    if not found:
        has = ", ".join(name for name in theirs if name) or "one without a name"
        raise UsageError(
            f"--start {spec} has the encoder {has}, and this run trains {', '.join(ours)}. "
            "Give a start that has one of these."
        )
    return found


def ours(path: Path) -> bool:
    """Whether a file is an encoder's file, which says what it holds."""
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            return file.KEY in (opened.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        return False


def _of_run(spec: str, directory: Path) -> Start:
    run, began = read.saved_run(directory), read.read_began(directory)
    newest = checkpoint.newest(Paths(directory).checkpoints)
    if newest is None:
        raise UsageError(f"--start {spec} has no checkpoint to begin from. Train it first.")
    try:
        checkpoint.verify(newest)
    except checkpoint.Damaged as damage:
        raise UsageError(
            f"--start {spec} is damaged ({damage}). Restore it, or give its encoder.safetensors."
        ) from None
    method = _unloaded(run, spec, samples=int(began["images"]))
    try:
        checkpoint.load(newest, method=method)
    except Failure as failure:
        raise UsageError(f"--start {spec} cannot be used. {failure}") from None
    return Start(
        spec,
        checkpoint.noted(newest),
        method.encoders,
        method=method,
        kind=catalog.name_of(run.method),
        data=(str(began["digest"]), str(began.get("contents", ""))),
        said=(f"{catalog.name_of(run.method)} after {checkpoint.step_of(newest):,} steps",),
    )


def _unloaded(run: AnyRun, spec: str, *, samples: int) -> Method:
    try:
        return unloaded(run, samples=samples)
    except UsageError as error:
        if not parts(run.teachers):
            raise
        raise UsageError(
            f"--start {spec} learnt from a teacher that cannot be read ({str(error).rstrip('.')}). "
            f"Put it back, or give {Paths(Path(spec)).encoder('')}."
        ) from None


def _of_project(run: AnyRun, path: Path) -> Start:
    """Another project's checkpoint, in the network of the run's one encoder."""
    configs = parts(run.encoders)
    if len(configs) != 1:
        raise UsageError(
            f"--start {path} holds one encoder without a name, and this run trains "
            f"{', '.join(configs)}. Give an encoder.safetensors or a run."
        )
    [config] = configs.values()
    encoder = _built(config)
    before = repr(network(encoder))
    loaded = load_into(encoder, open_weights(path))
    if repr(network(encoder)) != before:
        raise UsageError(
            f"--start {path} was trained in a network that no settings describe here "
            f"({' '.join(loaded.notes)}). Evaluate it as it is, or give another start."
        )
    return Start(str(path), _hash(path), {"": encoder}, said=tuple(loaded.lines()))


def _built(config: Any) -> Encoder:
    with torch.random.fork_rng(devices=[]):  # the random weights are thrown away
        return encoders.build(config)


def _check_there(path: Path) -> None:
    if not path.is_file():
        seen = "is no run directory" if path.is_dir() else "is not there"
        raise UsageError(f"--start {path} {seen}. Give {FORMS}.")


def _hash(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
