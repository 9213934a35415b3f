"""An encoder that sees some channels of CIE Lab and nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.lab import CHANNELS, lab_part
from manyviews.core.ranges import Range
from manyviews.encoders.settings import Stem, Width

_OWN = "resnet_small"


@dataclass(frozen=True, kw_only=True)
class LabConfig:
    """An encoder of one part of the colours: lightness, or what is left without it.

    It is fed ordinary colour images, so that all that works with images works with it.

    Attributes:
        input: the images that it is fed, of red, green and blue.
        network: what is behind it: resnet_small, or one of timm's by its name.
        sees: channels of Lab.
        stem: of ResNets, as there.
        width: of resnet_small, channels of the first stage; 0 keeps its own.
        grid: of resnet_small, parts of the last map that are kept apart; 0 keeps its own.
        zero_init: of ResNets, as there.
    """

    input: Pixels = field(default_factory=Pixels)
    network: str = "resnet18"
    sees: Literal["L", "ab", "a", "b"] = "L"
    stem: Stem = "imagenet"
    width: Width = 0
    grid: Annotated[int, Range("from 0 to 16", 0, 16)] = 0
    zero_init: bool = True

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Sizes of resnet_small, of another network."""
        for name, value in (("width", self.width), ("grid", self.grid)):
            if value and self.network != _OWN:
                yield name, value, f"0, as {self.network} has its own sizes"

    @property
    def name(self) -> str:
        """As everywhere."""
        return "lab"

    @property
    def channels(self) -> int:
        """That the network gets."""
        kept = CHANNELS[self.sees]
        return kept.stop - kept.start


class Lab(Encoder):
    """Lab of what it is fed, of that some channels, and a network on them."""

    def __init__(self, config: LabConfig, body: Encoder) -> None:
        """Put the conversion before a network of `config.channels` channels.

        Raises:
            UsageError: it would be fed images without colours.
        """
        super().__init__()
        if config.input.channels != 3:
            raise UsageError(
                f"An encoder that sees {config.sees} of Lab wants images of 3 channels (red, "
                f"green, blue), and these have {config.input.channels}. Choose another "
                "--encoder.name."
            )
        self.input, self.sees, self.body = config.input, config.sees, body
        self.dim, self.grid, self.patch = body.dim, body.grid, body.patch

    def forward(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        hide: Hide | None = None,
        blocks: int = 0,
        tokens: bool = True,
    ) -> Features:
        """Normalised colour images to features of a part of their colours."""
        seen = lab_part(self.input.restore(x), self.sees)
        return self.body(seen, keep=keep, hide=hide, blocks=blocks, tokens=tokens)

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """As of the network behind it."""
        return self.body.by_depth()

    def patch_embedding(self) -> Sequence[nn.Parameter]:
        """As of the network behind it."""
        return self.body.patch_embedding()
