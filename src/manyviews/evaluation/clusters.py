"""How clusters that were found without labels relate to labels."""

import torch
from torch import Tensor

from manyviews.core import UsageError


def nmi_purity(clusters: Tensor, labels: Tensor) -> tuple[float, float]:
    """Normalised mutual information and purity of clusters.

    NMI is the mutual information over the mean of the two entropies. Purity is the share of images
    whose label is the commonest of their cluster (Manning et al. 2008, section 16.3); it rises
    with the number of clusters, to 1 where each image is its own.

    Args:
        clusters: [N] int64, a cluster of each image.
        labels: [N] int64, its class.

    Returns:
        NMI, 0 to 1 (1 also where there is one cluster and one class); purity, above 0 to 1.

    Raises:
        UsageError: no images, or lengths that differ.
    """
    if clusters.ndim != 1 or clusters.shape != labels.shape or not len(clusters):
        raise UsageError(
            f"Clusters have shape {tuple(clusters.shape)} and labels {tuple(labels.shape)}; wanted "
            "one of each for the same samples. Cluster the labelled samples."
        )
    rows, columns = (torch.unique(x, return_inverse=True)[1].cpu() for x in (clusters, labels))
    classes = int(columns.max()) + 1
    counts = torch.bincount(rows * classes + columns, minlength=(int(rows.max()) + 1) * classes)
    joint = counts.view(-1, classes).double() / len(clusters)
    each = sum(_entropy(joint.sum(dim=axis)) for axis in (0, 1))
    purity = float(joint.amax(dim=1).sum())
    nmi = 2 * (each - _entropy(joint.flatten())) / each if each > 0 else 1.0
    return min(1.0, max(0.0, nmi)), purity


def _entropy(p: Tensor) -> float:
    return float(torch.special.entr(p).sum())
