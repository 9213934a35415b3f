"""How many bits the embeddings of a batch take, and how alike many crops are."""

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.precision import full_precision


@full_precision
def coding_rate(z: Tensor, *, precision: float) -> Tensor:
    """The rate that coding each view's embeddings up to a precision takes, in nats.

    1/2 logdet(I + D / (N precision) Z^T Z) of each view by itself, the mean over views. With
    fewer samples than dimensions the equal [N, N] determinant is taken.

    Args:
        z: [B, V, D] unit vectors of this rank; a view's N samples are those of all ranks.
        precision: squared, epsilon of the authors' code.

    Returns:
        Scalar, the same on every rank. Under autocast float32.

    Source: Yu et al. 2020, equation 1; Tong et al. 2023 (EMP-SSL), equation 1; tsb0601/EMP-SSL
    loss.py.
    """
    views = comm.gather(z).transpose(0, 1)  # [V, N, D]
    count, dim = views.shape[1:]
    gram = views @ views.mT if count < dim else views.mT @ views
    eye = torch.eye(len(gram[0]), dtype=gram.dtype, device=gram.device)
    # `slogdet` of a positive definite matrix, twice the sum of its Cholesky factor's logarithms.
    factor = torch.linalg.cholesky(eye + dim / (count * precision) * gram)
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1).mean()


@full_precision
def likeness_to_mean(z: Tensor) -> Tensor:
    """Mean cosine of each view with the mean of its sample's views, whose gradient counts too.

    Args:
        z: [B, V, D].

    Returns:
        Scalar from -1 to 1, the mean over this rank. Under autocast float32.

    Source: Tong et al. 2023 (EMP-SSL), equation 2; tsb0601/EMP-SSL main.py.
    """
    return F.cosine_similarity(z, z.mean(dim=1, keepdim=True), dim=-1).mean()
