"""Where everything of a run lies in its folder: the one home of these names."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """The files of one run; nothing is said of whether they are there.

    Attributes:
        root: the run directory.
    """

    root: Path

    @property
    def config(self) -> Path:
        """The settings."""
        return self.root / "config.yaml"

    @property
    def began(self) -> Path:
        """What it was begun with: the command, and the digest and number of the samples."""
        return self.root / "began.json"

    @property
    def lock(self) -> Path:
        """Held by the process that trains."""
        return self.root / "lock"

    @property
    def log(self) -> Path:
        """What was said."""
        return self.root / "log.txt"

    @property
    def metrics(self) -> Path:
        """What was logged, a line a record."""
        return self.root / "metrics.jsonl"

    @property
    def quarantine(self) -> Path:
        """Files that could not be read."""
        return self.root / "quarantine.jsonl"

    @property
    def checkpoints(self) -> Path:
        """A folder, which `training.checkpoint` fills."""
        return self.root / "checkpoints"

    @property
    def outcome(self) -> Path:
        """How the training ended."""
        return self.root / "outcome.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.root / "report.html"

    @property
    def seen(self) -> Path:
        """The page of what an encoder sees."""
        return self.root / "see.html"

    @property
    def cache(self) -> Path:
        """A folder of features, which `evaluation.features` fills."""
        return self.root / "cache"

    def encoder(self, name: str = "") -> Path:
        """The encoder that a user keeps; of several that of a name."""
        return self.root / f"encoder{_named(name)}.safetensors"

    def start(self, name: str = "") -> Path:
        """The encoder that the training began from, frozen; of several that of a name."""
        return self.root / f"start{_named(name)}.safetensors"

    @property
    def against(self) -> Path:
        """What was found of the encoders and of what they were before training."""
        return self.root / "against.json"

    def encoders(self) -> dict[str, Path]:
        """Name -> the file of each encoder that is there; "" where it is the only one."""
        files = sorted(self.root.glob("encoder*.safetensors"))
        return {file.stem.removeprefix("encoder").removeprefix("-"): file for file in files}

    def diagnosis(self, name: str = "") -> Path:
        """What `diagnose` found; of several encoders, of that of a name."""
        return self.root / f"diagnosis{_named(name)}.json"

    def evaluation(self, name: str) -> Path:
        """A result of `evaluate`, or of the probe beside training."""
        return self.root / "evaluation" / f"{name}.json"

    def evaluations(self) -> list[Path]:
        """All results that are there."""
        return sorted((self.root / "evaluation").glob("*.json"))


def _named(name: str) -> str:
    return f"-{name}" if name else ""
