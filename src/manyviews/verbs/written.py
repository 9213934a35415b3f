"""What verbs that write a file give back."""

from dataclasses import dataclass, field
from pathlib import Path

from manyviews.core.in_words import InWords


@dataclass(frozen=True, kw_only=True)
class Written(InWords):
    """A file that a verb wrote, and what is worth saying about it."""

    path: Path
    notes: list[str] = field(default_factory=list[str])

    def lines(self) -> list[str]:
        """For people."""
        return [f"wrote {self.path}", *self.notes]
