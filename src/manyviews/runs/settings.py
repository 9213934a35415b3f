"""A run, complete: everything that decides what a training does."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import tyro

from manyviews.core.ranges import Concentration, Natural, NotNegative, Seed
from manyviews.core.settings import struct
from manyviews.data.settings import Data, Positives
from manyviews.encoders.settings import ImageConfig
from manyviews.evaluation.settings import Probe
from manyviews.training.settings import Optim, Train

log = logging.getLogger("manyviews")

MethodConfig = TypeVar("MethodConfig")
Encoders = TypeVar("Encoders")
Views = TypeVar("Views")


@dataclass(frozen=True, kw_only=True)
class EntropyTerm:
    """ER's entropy beside a method's own loss (docs/methods/er.md).

    Attributes:
        weight: of the entropy; 0 leaves it out.
        concentration: of the kernels of its estimate, where the loss compares projections.
    """

    weight: NotNegative = 0.0
    concentration: Concentration = 10.0


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A frozen model that a method takes its targets from.

    Attributes:
        source: a run directory, an encoder.safetensors, timm:NAME, or with `encoder` another
            project's checkpoint.
        encoder: timm's name of the architecture of such a checkpoint.
        image_size: side in pixels of timm's models and such checkpoints; 0 takes their own.
        whole: the method of a run as its last checkpoint has it, with all that it consists of,
            and not one encoder.
    """

    source: str = ""
    encoder: str = ""
    image_size: Natural = 0
    whole: bool = False

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """What is for single encoders, and a run."""
        if self.whole and self.encoder:
            yield "encoder", self.encoder, "nothing, as its source is a run, which is taken whole"
        if self.whole and self.image_size:
            yield "image_size", self.image_size, "0, as its source is a run, which is taken whole"


def _none() -> Any:
    return struct("Teachers", {})


@dataclass(frozen=True, kw_only=True)
class Run(Generic[MethodConfig, Encoders, Views]):
    """All settings of a run. Saved as `config.yaml`; derived numbers are never stored.

    Attributes:
        recipe: the recipe that this began as.
        method: what is learnt: the method's own settings.
        encoders: name -> settings of one of the kinds in `encoders.catalog`, as `core.settings`
            makes a class of a mapping (`struct`, `parts`).
        views: family -> settings of one of the kinds in `views.catalog`, likewise.
        data, optim, train, probe, entropy: see their classes.
        start: weights to begin from, as `runs.start` reads them; "" begins with random ones.
        teachers: name -> a `Teacher`, for methods that ask for some.
        positives: other samples that are positives of a sample.
        seed: with the epoch and a sample's index it decides order, views and initial weights.
    """

    recipe: tyro.conf.Suppress[str]
    method: MethodConfig
    encoders: Encoders
    views: Views
    data: Data
    optim: Optim
    train: Train
    probe: Probe = field(default_factory=Probe)
    entropy: EntropyTerm = field(default_factory=EntropyTerm)
    seed: Seed = 0
    start: str = ""
    teachers: Any = field(default_factory=_none)
    positives: Positives = field(default_factory=Positives)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a recipe may look at: the data (its headers and a sample) and the machine.

    Attributes:
        source: as in `Data`.
        count: samples.
        side: median of the shorter side, in pixels.
        channels: as asked for; else 1 if every sampled image is grey, and 3 if not.
        mean: per channel, of pixels in [0, 1], over a sample.
        std: likewise.
        device: "cpu" or "cuda".
        cores: processor cores this process may use.
        speed: multiply-adds a second that training may do on this machine, estimated; 0 where
            nobody has, and then the encoder follows from the images' size alone.
        minutes: that a flag gives the training; 0 where none does.
        encoder: settings of the encoder of images that training begins from; None where it begins
            with random weights.
        say: told in a sentence each what a recipe chose and why. Flags may yet choose otherwise,
            and who knows them keeps the sentences until then.
    """

    source: str
    count: int
    side: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: str
    cores: int
    speed: float = 0.0
    minutes: float = 0.0
    encoder: ImageConfig | None = None
    say: Callable[[str], object] = log.info


AnyRun = Run[Any, Any, Any]
Recipe = Callable[[Facts], AnyRun]
