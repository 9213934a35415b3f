"""MaskFeat. Wei et al. 2022, arXiv:2112.09133; facebookresearch/SlowFast."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from manyviews.core import Batch, Clock, Given, Hide, Method, Step, UsageError
from manyviews.core.ranges import Count
from manyviews.losses.reconstruction import error_of_a_guess, masked_mse, prediction_std
from manyviews.parts.hog import hog_of_patches
from manyviews.parts.masking import check_views, mask_token, square_patch


@dataclass(frozen=True, kw_only=True)
class MaskFeatConfig:
    """Settings of MaskFeat; what is hidden belongs to the view plan.

    Attributes:
        cells: histograms along each side of a patch (2 in 16 pixels are cells of 8).
        bins: directions in a histogram.
    """

    cells: Count = 2
    bins: Count = 9


class MaskFeat(Method):
    """The encoder sees mask tokens at hidden places; a linear layer predicts gradients there."""

    needs: Mapping[str, int] = {"global": 1, "global.mask": 1}
    tokens = True

    def __init__(self, given: Given, config: MaskFeatConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        self.patch = square_patch(encoder, "MaskFeat")
        if self.patch % config.cells:
            raise UsageError(
                f"Patches of {self.patch} pixels cannot be cut into {config.cells} cells a side. "
                "Set another --method.cells, such as 1."
            )
        self.online = encoder
        self.mask_token = mask_token(encoder.dim)
        values = encoder.input.shape[0] * config.bins * config.cells**2
        self.head = nn.Linear(encoder.dim, values)
        self.config = config

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The squared error of the histograms of hidden patches."""
        views = batch.views["global"]
        images, hidden = views.flatten(0, 1), batch.cues["global.mask"].flatten(0, 1)
        check_views(self.online, images, hidden, "MaskFeat")
        config = self.config
        target = hog_of_patches(images, patch=self.patch, cells=config.cells, bins=config.bins)
        features = self.online(images, hide=Hide(hidden, self.mask_token))
        prediction = self.head(features.tokens)
        loss = masked_mse(prediction, target, hidden)
        return Step(
            {"histograms": loss},
            self.embedded(features.pooled.unflatten(0, views.shape[:2])),
            watch={
                "prediction_std": prediction_std(prediction, hidden),
                "over_guess": loss.detach() / error_of_a_guess(masked_mse, target, hidden),
            },
        )
