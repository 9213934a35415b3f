"""Small encoders and batches that tests train in milliseconds."""

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Encoder, Features, Unsupported
from manyviews.core.positions import sincos

SIDE, PATCH, CHANNELS, DIM = 16, 4, 3, 16


class TinyViT(Encoder):
    """Two pre-norm blocks with a class token; any image of at most SIDE pixels."""

    dim = DIM
    num_tokens = (SIDE // PATCH) ** 2

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(CHANNELS, DIM, PATCH, PATCH)
        self.first = nn.Parameter(torch.randn(1, 1, DIM) * 0.02)
        self.register_buffer("position", sincos(DIM, (SIDE // PATCH, SIDE // PATCH)))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                DIM, 2, 2 * DIM, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(DIM)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        t = self.patches(x)
        side, whole = t.shape[-1], SIDE // PATCH
        places = self.position.view(whole, whole, DIM)[:side, :side].reshape(-1, DIM)
        t = t.flatten(2).transpose(1, 2)
        if hide is not None:
            t = torch.where(hide.where[..., None], hide.token.to(t.dtype), t)
        t = t + places
        if keep is not None:
            t = t.gather(1, keep[..., None].expand(-1, -1, DIM))
        t = torch.cat([self.first.expand(len(t), -1, -1), t], dim=1)
        hidden = []
        for block in self.blocks:
            t = block(t)
            hidden.append(t[:, 1:])
        t = self.norm(t)
        return Features(t[:, 0], t[:, 1:], tuple(hidden[-blocks:]) if blocks else (), t[:, 0])


class TinyConv(Encoder):
    """Two convolutions with batch norm; any image size."""

    dim = DIM
    num_tokens = (SIDE // 4) ** 2

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(CHANNELS, 8, 3, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, DIM, 3, 2, 1, bias=False),
            nn.BatchNorm2d(DIM),
            nn.ReLU(),
        )

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        if keep is not None or hide is not None or blocks:
            raise Unsupported("TinyConv has no tokens to keep or hide.")
        places = self.body(x).flatten(2).transpose(1, 2)
        return Features(places.mean(dim=1), places)


def make_batch(seed: int, *, size: int = 8, local: int = 2, dtype=torch.float32) -> Batch:
    """Random views: 2 global, `local` of half the side; masks that hide 3 patches of 4."""
    g = torch.Generator().manual_seed(seed)

    def draw(count: int, side: int) -> Tensor:
        return torch.randn(size, count, CHANNELS, side, side, generator=g, dtype=torch.float64)

    views = {"global": draw(2, SIDE).to(dtype)}
    if local:
        views["local"] = draw(local, SIDE // 2).to(dtype)
    tokens = (SIDE // PATCH) ** 2
    order = torch.rand(size, 2, tokens, generator=g).argsort(dim=-1)
    return Batch(views, torch.arange(size), {"mask": order >= tokens // 4})
