"""What a run directory says of its training, and what was measured of it since."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from manyviews.core.nouns import Noun, noun_of
from manyviews.core.settings import parts
from manyviews.diagnosis.result import Diagnosed
from manyviews.evaluation.features import fingerprint
from manyviews.runs.budget import minutes_of
from manyviews.runs.embedder import load_encoder
from manyviews.runs.folder import read
from manyviews.runs.folder.paths import Paths
from manyviews.runs.folder.read import saved_run
from manyviews.runs.settings import AnyRun
from manyviews.training import checkpoint


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a run directory says of its training, and of one encoder that it left.

    Attributes:
        name: how the table calls it.
        directory: the run.
        which: the encoder's name where the run has several, else "".
        settings: config.yaml.
        digest: of the data that it began with.
        images: samples in that data, of whatever kind.
        steps: done.
        seconds: of training.
        ended: done, interrupted or collapsed; "unfinished" where the process was killed.
        alarms: raised.
        peak_memory: in bytes; None where it was not noted.
        encoder: fingerprint of the encoder's file; "" where there is none.
        parameters: of the encoder; 0 where there is none.
    """

    name: str
    directory: Path
    settings: AnyRun
    digest: str
    images: int
    steps: int
    seconds: float
    ended: str
    alarms: int
    peak_memory: int | None
    encoder: str
    parameters: int
    which: str = ""

    @property
    def encoders(self) -> list[Any]:
        """Settings of the encoder that is meant, or of all where none is named."""
        named = parts(self.settings.encoders)
        return [named[self.which]] if self.which else list(named.values())

    @property
    def noun(self) -> Noun:
        """What its samples are called."""
        return noun_of(plan.of for plan in parts(self.settings.views).values())

    @property
    def channels(self) -> int:
        """Of the images that it reads; of an encoder that reads none, of what it is fed."""
        return self.encoders[0].input.shape[0]

    @property
    def budget(self) -> str:
        """What the training was given."""
        train = self.settings.train
        if train.steps:
            return f"{train.steps:,} steps"
        return f"{train.epochs:,} epochs" if train.epochs else minutes_of(train.minutes)

    @property
    def sees(self) -> list[dict[str, Any]]:
        """What decides the baselines that stand beside it."""
        return [asdict(encoder) for encoder in self.encoders]

    @property
    def words(self) -> dict[str, str]:
        """Facts that are no numbers to sort by."""
        named = " + ".join(f"{e.name}, {e.input}" for e in self.encoders)
        size = f", {self.parameters / 1e6:.2f} M parameters" if self.parameters else ""
        return {
            "recipe": self.settings.recipe,
            "encoder": f"{named}{size}",
            "batch": str(self.settings.data.batch_size),
            "budget": self.budget,
            "seed": str(self.settings.seed),
            "ended": self.ended,
            "alarms": str(self.alarms),
        }


def read_past(directory: Path, *, name: str, which: str = "") -> Past:
    """Read a run directory.

    Args:
        directory: the run.
        name: how the table is to call it.
        which: of its encoders, where there are several.

    Raises:
        UsageError: it is none.
    """
    settings = saved_run(directory)
    began = read.read_began(directory)
    records = read.read_metrics(directory)
    outcome = read.read_json(Paths(directory).outcome)
    memory = outcome.get("peak_memory")
    # not every step is logged; a training that was killed has no outcome, or an older one
    times = [(r["step"], r["seconds"]) for r in records if r.get("seconds") is not None]
    times.append((_number(outcome.get("steps")), _number(outcome.get("seconds"))))
    file, encoder, parameters = Paths(directory).encoder(which), "", 0
    if file.is_file():
        subject = load_encoder(file)
        encoder = fingerprint(subject)
        parameters = sum(p.numel() for p in subject.parameters())
    return Past(
        name=name,
        directory=directory,
        settings=settings,
        digest=str(began["digest"]),
        images=int(began["images"]),
        steps=int(max(steps for steps, _ in times)),
        seconds=float(max(seconds for _, seconds in times)),
        ended=str(outcome.get("status") or ("done" if encoder else "unfinished")),
        alarms=sum(r.get("kind") == "alarm" for r in records),
        peak_memory=memory if isinstance(memory, int) else None,
        encoder=encoder,
        parameters=parameters,
        which=which,
    )


def _number(value: object) -> float:
    return value if isinstance(value, int | float) and math.isfinite(value) else 0


def diagnosis_of(past: Past) -> dict[str, Any]:
    """RUN/diagnosis.json, of its encoder; empty where missing, of another version or older."""
    found = read.read_diagnosis(past.directory, past.which)
    if found.get("version") != Diagnosed.version:
        return {}
    newest = checkpoint.latest(Paths(past.directory).checkpoints)
    seen = [int(step) for step in found.get("checkpoints", {})]
    if newest is not None and seen and max(seen) != checkpoint.step_of(newest):
        return {}
    return found


def read_evaluations(past: Past) -> list[dict[str, Any]]:
    """RUN/evaluation/*.json of the present encoder's output of one view, with the data of each."""
    found: list[dict[str, Any]] = []
    for path in Paths(past.directory).evaluations():
        result = read.read_evaluation(path)
        if not result or any(result.get(name) for name in ("train_data", "layer", "averaged")):
            continue
        if result.get("encoder", past.encoder) != past.encoder:
            continue
        found.append({"data": past.settings.probe.source} | result)
    return found
