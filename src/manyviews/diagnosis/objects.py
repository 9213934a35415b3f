"""What a single object in an image might be, from the features of its patches and no label."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

SEEDS = 100
"""LOST's patches of the lowest degree, of which those like the seed join it."""
THRESHOLD, FLOOR = 0.2, 1e-5
"""TokenCut's cosine from which patches are joined, and the weight of all other pairs."""


@dataclass(frozen=True)
class Region:
    """What was found in one image.

    Attributes:
        map: [h, w] float32 on the grid of patches; the object lies where it is high.
        mask: [h, w] bool, the patches of the object: joined, with the seed in it.
        seed: (row, column) of the patch that it grew from.
    """

    map: NDArray[np.float32]
    mask: NDArray[np.bool_]
    seed: tuple[int, int]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of the mask, as shares of the image's sides."""
        rows, columns = np.nonzero(self.mask)
        height, width = self.mask.shape
        return (
            float(columns.min() / width),
            float(rows.min() / height),
            float((columns.max() + 1) / width),
            float((rows.max() + 1) / height),
        )


def lost(features: Tensor, grid: tuple[int, int], *, seeds: int = SEEDS) -> Region:
    """LOST: the patch that is like the fewest others, and what is like it.

    Patches are alike where their inner product is above 0. The seed is the patch that is like
    the fewest (objects are smaller than grounds). Of the `seeds` patches that are like the fewest,
    those like the seed vote by their inner products; the object is where the sum is above 0, as
    far as it is joined to the seed.

    Args:
        features: [N, D], the keys of a transformer's last block, all heads; not normalised.
        grid: (rows, columns) with N in all.
        seeds: see above.

    Source: Simeoni et al., "Localizing objects with self-supervised transformers and no labels"
    (2109.14279), section 3; valeoai/LOST@fcedbec object_discovery.py.
    """
    products = features.double() @ features.double().T
    others = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    degree = ((products > 0) & others).sum(dim=1)
    order = degree.argsort(stable=True)
    seed, few = int(order[0]), order[:seeds]
    alike = few[products[seed, few] > 0]
    return _grown(products[alike].sum(dim=0), 0.0, seed, grid)


def tokencut(
    features: Tensor,
    grid: tuple[int, int],
    *,
    threshold: float = THRESHOLD,
    floor: float = FLOOR,
) -> Region:
    """TokenCut: the graph of patches cut in two, where that costs the least.

    Pairs of patches are joined by 1 where their cosine is above `threshold`, else by `floor`. The
    second smallest solution y of (D - W) y = lambda D y is cut at its mean; the object is the side
    of the patch with the largest |y|, as far as it is joined to that one.

    Args:
        features: [N, D], the keys of a transformer's last block, all heads.
        grid: (rows, columns) with N in all; it takes N^3 operations.
        threshold: see above.
        floor: see above.

    Source: Wang et al., "Self-supervised transformers for unsupervised object discovery using
    normalized cut" (2202.11539), section 3; YangtaoWANG95/TokenCut@fed52cd object_discovery.py.
    """
    unit = F.normalize(features.double(), dim=1)
    weights = torch.where(unit @ unit.T > threshold, 1.0, floor).double()
    root = weights.sum(dim=1).rsqrt()
    # z = D^(1/2) y makes the problem an ordinary, symmetric one
    matrix = torch.eye(len(root), dtype=root.dtype, device=root.device)
    _, vectors = torch.linalg.eigh(matrix - root[:, None] * weights * root)
    y = vectors[:, 1] * root
    seed = int(y.abs().argmax())
    y = y if y[seed] > y.mean() else -y
    return _grown(y, float(y.mean()), seed, grid)


def _grown(values: Tensor, above: float, seed: int, grid: tuple[int, int]) -> Region:
    """The part of values [N] > above that is joined to the seed, over sides and not corners."""
    picture = values.float().cpu().numpy().reshape(grid)
    inside = (values > above).cpu().numpy().reshape(grid)
    start = divmod(seed, grid[1])
    mask = np.zeros(grid, dtype=bool)
    edge = [start]
    mask[start] = True
    while edge:
        row, column = edge.pop()
        for there in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inner = 0 <= there[0] < grid[0] and 0 <= there[1] < grid[1]
            if inner and inside[there] and not mask[there]:
                mask[there] = True
                edge.append(there)
    return Region(picture, mask, start)
