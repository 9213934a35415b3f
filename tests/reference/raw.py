"""Tools that feed fixed embeddings through a whole method."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from manyviews.core import Batch, Encoder, Features

DATA = Path(__file__).parent / "data"


class Raw(Encoder):
    """Passes vectors through, so that a test decides what a method's loss sees."""

    grid = (1,)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        return Features(x, x[:, None])


def load(name: str) -> dict[str, torch.Tensor]:
    """The float64 arrays of `data/<name>.npz`; see the README there."""
    with np.load(DATA / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def batch_of(*views: torch.Tensor) -> Batch:
    return Batch({"global": torch.stack(views, dim=1)}, torch.arange(len(views[0])))


def gaussian(seed: int, *shape: int) -> torch.Tensor:
    """Fixed float64 numbers that want a gradient."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=g, dtype=torch.float64).requires_grad_()


def assert_same(ours, theirs, inputs, **tolerance) -> None:
    """Two scalars agree, and so do their gradients in the inputs."""
    torch.testing.assert_close(ours, theirs, **tolerance)
    expected = torch.autograd.grad(theirs, inputs, retain_graph=True)
    for mine, other in zip(torch.autograd.grad(ours, inputs), expected, strict=True):
        assert other.abs().max() > 1e-6, "a gradient of nothing proves nothing"
        torch.testing.assert_close(mine, other, **tolerance)
