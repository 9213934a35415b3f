"""Principal components of patches, as targets."""

import torch
from torch import Tensor, nn

from manyviews.core import UsageError, comm, wide


class Components(nn.Module):
    """Patches in the coordinates of their principal components, some of which are left out.

    Attributes:
        mean: [P] buffer, of the patches it was fitted to.
        basis: [P, K] buffer, its columns of unit length; zeros before it was fitted.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, size: int, *, first: int, count: int) -> None:
        """Nothing is known yet.

        Args:
            size: P, values of a patch.
            first: components of greatest variance that are left out.
            count: K, how many follow that are kept; 0 for all.

        Raises:
            UsageError: a patch has no so many.
        """
        super().__init__()
        last = first + count if count else size
        if not first < last <= size:
            raise UsageError(
                f"Components {first + 1} to {last} were asked of patches of {size} values. "
                "Lower --method.first or --method.count."
            )
        self.first, self.last = first, last
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", torch.zeros(size, last - first))

    @property
    def width(self) -> int:
        """K."""
        return self.last - self.first

    @property
    def fitted(self) -> bool:
        """Whether there is a basis."""
        return bool(self.basis.any())

    @torch.no_grad()
    def fit(self, patches: Tensor) -> None:
        """Find mean and basis of patches [n, P]; rows with NaN take no part.

        The sign of a component is that of its largest entry, so that it is the same everywhere.

        Raises:
            UsageError: fewer than two rows are finite.
        """
        rows = patches[patches.sum(dim=1).isfinite()].double()
        if len(rows) < 2:
            raise UsageError(
                f"Principal components need 2 or more readable images and got {len(rows)}. "
                "Check them with `manyviews doctor`."
            )
        mean = rows.mean(dim=0)
        _, directions = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
        basis = directions.flip(1)[:, self.first : self.last]
        largest = basis.gather(0, basis.abs().argmax(dim=0, keepdim=True))
        self.mean.copy_(comm.broadcast(mean.to(self.mean)))
        self.basis.copy_(comm.broadcast((basis * largest.sign()).to(self.basis)))

    def forward(self, patches: Tensor) -> Tensor:
        """[..., P] -> [..., K] coordinates, float32 also under autocast."""
        with torch.autocast(patches.device.type, enabled=False):
            return (wide(patches) - self.mean) @ self.basis

    def back(self, coordinates: Tensor) -> Tensor:
        """[..., K] -> [..., P]: the patch that has these, and the mean's of those left out."""
        with torch.autocast(coordinates.device.type, enabled=False):
            return wide(coordinates) @ self.basis.T + self.mean


def one_patch_each(images: Tensor, patches: Tensor) -> Tensor:
    """One patch of each image: patches [B, N, P] -> [B, P].

    Which one depends on the image's own pixels and nothing else, whatever batch it comes in.
    """
    # whole numbers have the same sum in any order
    marks = (images.flatten(1).double() * 1024).round().long().sum(dim=1)
    return patches[torch.arange(len(patches), device=patches.device), marks % patches.shape[1]]
