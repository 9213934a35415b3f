"""Auto-encoders, plain and denoising. Vincent et al. 2008 (ICML), "Extracting and composing"."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step, UsageError
from manyviews.core.ranges import Count
from manyviews.losses.reconstruction import pixel_mse
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class AutoEncoderConfig:
    """Settings of auto-encoders; what is destroyed belongs to the view plan.

    Attributes:
        code: width of the bottleneck between the encoder's output and the decoder.
        hidden: width of the decoder's two hidden layers.
    """

    code: Count = 64
    hidden: Count = 1024


class AutoEncoder(Method):
    """Bring an image back from a short code; of a damaged image, as it was."""

    needs: Mapping[str, int] = {"global": 1, "global.mask": 0}

    def __init__(self, given: Given, config: AutoEncoderConfig) -> None:
        super().__init__(given)
        self.online = given.encoder
        channels, height, width = self.online.input.shape
        sizes = [config.code, config.hidden, config.hidden, channels * height * width]
        self.code = nn.Linear(self.online.dim, config.code)
        self.decoder = mlp(sizes, norm=False)
        self.config = config

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The squared error of every pixel, of those that were hidden too."""
        views = batch.views["global"]
        images = views.flatten(0, 1)
        features = self.online(self._damaged(batch, images), tokens=False)
        code = self.code(features.pooled)
        made = self.decoder(code).view_as(images)
        loss = pixel_mse(made, images)
        guess = pixel_mse(images.mean(dim=0).expand_as(images), images)
        return Step(
            {"reconstruction": loss},
            self.embedded(features.pooled.unflatten(0, views.shape[:2])),
            projection=code.unflatten(0, views.shape[:2]),
            watch={"over_guess": loss.detach() / guess},
        )

    def _damaged(self, batch: Batch, images: Tensor) -> Tensor:
        """Images with hidden places at 0, the mean of the data."""
        hidden = batch.cues.get("global.mask")
        if hidden is None or not hidden.shape[1]:
            return images
        rows, columns = self.online.grid
        height, width = images.shape[2:]
        if height % rows or width % columns:
            raise UsageError(
                f"Masks of {rows} x {columns} places do not divide images of {height} x {width} "
                "pixels. Leave out --views.global.mask.ratio or set --encoder.input.side."
            )
        cover = hidden.reshape(-1, 1, rows, columns).repeat_interleave(height // rows, 2)
        return images.masked_fill(cover.repeat_interleave(width // columns, 3), 0.0)
