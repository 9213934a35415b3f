"""Tools that feed fixed embeddings through a whole method."""

import math
import zlib
from collections.abc import Callable
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


def hashed(name: str, *shape: int) -> torch.Tensor:
    """Float64 numbers, uniform in [-1, 1), that depend on a name and nothing else.

    So both sides of a comparison can have the weights of a whole network, and no file keeps them.
    """
    x = np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()) << 32)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    x ^= x >> np.uint64(31)
    return torch.from_numpy((x >> np.uint64(11)) * 2.0**-52 - 1.0).view(shape)


@torch.no_grad()
def weigh(module: nn.Module, name_of: Callable[[str], str] = str) -> None:
    """Give every parameter hashed numbers, of a size that keeps signals as large as they were.

    The last norm of a bottleneck gets a fifth: rounding grows less from block to block.

    Args:
        module: of float64.
        name_of: a parameter's name -> that by which its numbers are drawn.
    """
    for name, p in module.named_parameters():
        theirs = name_of(name)
        drawn = hashed(theirs, *p.shape)
        if p.ndim > 1:
            p.copy_(drawn * math.sqrt(6 / p[0].numel()))
        else:
            p.copy_(1 + 0.2 * drawn if theirs.endswith("weight") else 0.1 * drawn)
            p.mul_(0.2 if theirs.endswith("bn3.weight") else 1.0)


def summary(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """[tensors, 2]: of each its length, and its product with hashed numbers; sorted by name."""
    rows = []
    for name, x in sorted(tensors.items()):
        x = x.detach().double()
        rows.append(torch.stack([x.norm(), (x * hashed(f"{name}?", *x.shape)).sum()]))
    return torch.stack(rows)


def assert_alike(found: torch.Tensor, expected: torch.Tensor, *, within: float = 1e-4) -> None:
    """Two summaries agree to a share of each tensor's length.

    A deep network's batch norms over a few samples turn rounding of 1e-16 into 1e-6 in some steps.
    """
    least = expected[:, 0].max() * 1e-8  # of what is nothing but rounding, such as a bias's
    off = (found - expected).abs() / expected[:, :1].clamp(min=least)
    assert off.max() < within, f"off by {float(off.max()):.1e}"
