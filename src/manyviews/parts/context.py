"""What the rows above say of the places of a map."""

import torch.nn.functional as F
from torch import Tensor, nn


class RowContext(nn.Module):
    """Each place of a map from its own row and those above, by residual blocks of convolutions.

    A block looks one row up and one column to either side; it has no norm, so that samples do not
    tell of one another.

    Source: Henaff et al. 2019 (CPC v2), appendix A.2, its PixelCNN; van den Oord et al. 2016.
    """

    def __init__(self, dim: int, *, hidden: int = 256, blocks: int = 5) -> None:
        """Draw weights.

        Args:
            dim: D.
            hidden: channels inside a block.
            blocks: how many; the context reaches so many rows up.
        """
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(dim, hidden, 1),
                nn.ReLU(),
                nn.Conv2d(hidden, hidden, (1, 3), padding=(0, 1)),
                nn.ZeroPad2d((0, 0, 1, 0)),
                nn.Conv2d(hidden, hidden, (2, 1)),
                nn.ReLU(),
                nn.Conv2d(hidden, dim, 1),
            )
            for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, D] -> [B, H, W, D]."""
        x = x.movedim(-1, 1)
        for block in self.blocks:
            x = x + block(x)
        return F.relu(x).movedim(1, -1)
