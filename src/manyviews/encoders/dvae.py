"""The encoder of a discrete variational auto-encoder: its tokens are scores of codes."""

from collections.abc import Sequence

from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide, UsageError
from manyviews.encoders.maps import refuse_tokens
from manyviews.encoders.settings import DVAEConfig


class DVAE(Encoder):
    """Strided convolutions and residual blocks, then a score for each code at each place.

    `tokens` [B, N, K] are logits over K codes, the code of a place is the largest; `pooled` [B, K]
    is how often each code is expected in the image, which sums to 1.

    Source: the network of lucidrains' DALLE-pytorch, as in microsoft/unilm
    beit/modeling_discrete_vae.py (`DiscreteVAE.encoder`).
    """

    def __init__(self, config: DVAEConfig) -> None:
        """Build with random weights.

        Raises:
            UsageError: a patch that is no power of two, or that does not divide the images.
        """
        super().__init__()
        side, patch = config.input.side, config.patch
        if patch & (patch - 1) or side % patch:
            raise UsageError(
                f"This encoder halves the side until a place is a patch: --encoder.patch is "
                f"{patch} and images have {side} pixels. Give a power of two that divides them."
            )
        self.input, self.dim = config.input, config.codes
        self.grid, self.patch = (side // patch, side // patch), (patch, patch)
        wide, width = config.input.channels, config.width
        stages: list[nn.Module] = []
        for _ in range(patch.bit_length() - 1):
            halve = nn.Conv2d(wide, width, 4, stride=2, padding=1)
            stages.append(nn.Sequential(halve, nn.ReLU(), _Residual(width)))
            wide = width
        self.stages = nn.ModuleList(stages)
        self.scores = nn.Conv2d(wide, config.codes, 1)

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """Nothing before the first stage; then each stage."""
        return [[], *(list(stage.parameters()) for stage in self.stages)]

    def forward(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        hide: Hide | None = None,
        blocks: int = 0,
        tokens: bool = True,
    ) -> Features:
        """Images [B, C, S, S] to features.

        Raises:
            Unsupported: keep, hide or blocks was asked for.
        """
        del tokens
        refuse_tokens(keep, hide, blocks, name="The encoder dvae", of="images")
        for stage in self.stages:
            x = stage(x)
        logits = self.scores(x).flatten(2).transpose(1, 2)
        return Features(logits.softmax(dim=2).mean(dim=1), logits)


class _Residual(nn.Module):
    """x + two 3x3 convolutions and a 1x1 one of it, with rectifiers between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + x
