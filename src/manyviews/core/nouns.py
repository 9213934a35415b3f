"""What people call the samples of a data set: one noun for each stream."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Noun:
    """One of them, and many.

    In templates of sentences `{sample}` and `{samples}` stand for the two.
    """

    one: str
    many: str

    def fill(self, template: str) -> str:
        """A sentence of a template; other braces stay as they are."""
        return template.replace("{sample}", self.one).replace("{samples}", self.many)


SAMPLE = Noun("sample", "samples")
"""Where the stream is not known, or there are several kinds."""
IMAGE = Noun("image", "images")

NOUNS: Mapping[str, Noun] = MappingProxyType(
    {
        "video": Noun("video", "videos"),
        "image": IMAGE,
        "audio": Noun("sound", "sounds"),
        "points": Noun("cloud", "clouds"),
    }
)
"""Stream -> what a sample is called. Of several streams the first here counts: a video with its
sound is a video. A clip is what is cut out of one."""


def noun_of(streams: Iterable[str]) -> Noun:
    """What samples that have these streams are called."""
    there = set(streams)
    return next((noun for stream, noun in NOUNS.items() if stream in there), SAMPLE)


def common(nouns: Iterable[Noun]) -> Noun:
    """The one that all share, or `SAMPLE`."""
    found = set(nouns)
    return found.pop() if len(found) == 1 else SAMPLE
