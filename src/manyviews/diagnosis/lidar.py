"""How many directions separate images better than augmentations blur them."""

import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.rank import entropy_rank
from manyviews.diagnosis.spectrum import check_features, from_gram

_IMAGES = 256


def lidar(views: Tensor, *, delta: float = 1e-4, eps: float = 0.0) -> float:
    """LiDAR: the effective rank of linear discriminant analysis with images as classes.

    Thilak et al. 2024 (arXiv:2312.04000), section 3: the exponential of the entropy of p, the
    eigenvalues of W^-1/2 B W^-1/2 scaled to sum 1, plus eps. B is the covariance of the images'
    means, W the mean covariance of an image's views plus delta on the diagonal. As delta is
    absolute, features that are all below its root (0.01) make W the identity, and LiDAR the rank
    of the images' means.

    Args:
        views: [N, Q, D]: Q views of each of N images, made as in training. The authors take
            N = 1000, Q = 50, or 10 to be quicker. With N <= D at most N - 1.
        delta: of the authors.
        eps: added to every share; the authors' guard against log 0, which is not needed here.

    Returns:
        1 to min(N - 1, D); 0 where all images have the same mean.

    Raises:
        UsageError: fewer than two images or two views of each, NaN or infinite features, or a
            delta that does not make W invertible.
    """
    if views.ndim != 3 or len(views) < 2 or views.shape[1] < 2:
        raise UsageError(
            f"LiDAR has features of shape {tuple(views.shape)}; wanted [N, Q, D] with two or more "
            "samples and two or more views of each. Give several augmented views a sample."
        )
    check_features(views.flatten(0, 1))
    means = views.double().mean(dim=1).cpu()
    within = _within(views) + delta * torch.eye(views.shape[2], dtype=torch.float64)
    factor, failed = torch.linalg.cholesky_ex(within)
    if int(failed):
        raise UsageError(
            f"LiDAR's within-image covariance is singular with delta {delta}; wanted a delta that "
            "makes it invertible. Give 1e-4."
        )
    centred = means - means.mean(dim=0)
    # B and W^-1/2 B W^-1/2 have the eigenvalues of the white means' Gram matrix over N - 1.
    white = torch.linalg.solve_triangular(factor, centred.T, upper=False)
    gram = white @ white.T if len(white) <= len(means) else white.T @ white
    return entropy_rank(from_gram(gram).square(), eps=eps)


def _within(views: Tensor) -> Tensor:
    """[D, D] float64: the mean over images of the unbiased covariance of their views."""
    n, q, d = views.shape
    total = torch.zeros(d, d, dtype=torch.float64)
    for part in views.split(_IMAGES):
        rows = part.cpu().double()
        rows = (rows - rows.mean(dim=1, keepdim=True)).flatten(0, 1)
        total.addmm_(rows.T, rows)
    return total / (n * (q - 1))
