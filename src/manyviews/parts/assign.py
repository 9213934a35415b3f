"""Turning scores into targets that cannot collapse: balanced assignment, centring."""

import math

import torch
from torch import Tensor, nn

from manyviews.core import comm, wide


@torch.no_grad()
def sinkhorn(scores: Tensor, *, temperature: float, rounds: int = 3) -> Tensor:
    """Assign samples to prototypes so that all prototypes are used equally over all ranks.

    Each round makes the prototypes (columns) equally full and then the samples (rows) sum to 1;
    the sample comes last, so that each row is a distribution. In log space: no temperature
    overflows. The constants of the original (1/K, 1/B) cancel.

    Args:
        scores: [B, ..., K]; B may differ between ranks and may be 0 on some. What stands at one
            place along the axes between is assigned by itself (CAPI's positions).
        temperature: epsilon, 0.05 in SwAV.
        rounds: of column and row normalisation.

    Returns:
        [B, ..., K] rows of this rank, each summing to 1; float32, or float64 if scores are.

    Source: Caron et al. 2020 (SwAV), Algorithm 1; facebookresearch/swav main_swav.py.
    """
    log_q = wide(scores) / temperature
    for _ in range(rounds):
        log_q = log_q - _logsumexp_over_ranks(log_q)
        log_q = log_q - log_q.logsumexp(dim=-1, keepdim=True)
    return log_q.exp()


def _logsumexp_over_ranks(log_q: Tensor) -> Tensor:
    """[B, ..., K] -> [1, ..., K]: over the rows of every rank."""
    floor = log_q.new_full((1, *log_q.shape[1:]), -math.inf)  # a rank without rows still has a peak
    peak = comm.gather(torch.cat([floor, log_q]).amax(dim=0, keepdim=True)).amax(0, keepdim=True)
    return peak + comm.total((log_q - peak).exp().sum(dim=0, keepdim=True)).log()


class Center(nn.Module):
    """DINO's running mean of teacher logits, taken off before sharpening.

    `forward` reads it and `update` moves it, so the loss uses the centre of earlier batches.

    Attributes:
        mean: [K] buffer.

    Source: Caron et al. 2021 (DINO), equation 4; facebookresearch/dino main_dino.py.
    """

    mean: Tensor

    def __init__(self, dim: int, *, momentum: float = 0.9) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.momentum = momentum

    def forward(self, logits: Tensor, *, temperature: float) -> Tensor:
        """[..., K] teacher logits -> [..., K] probabilities, float32 (float64 stays)."""
        return ((wide(logits) - self.mean) / temperature).softmax(dim=-1)

    @torch.no_grad()
    def update(self, logits: Tensor) -> None:
        """Move towards the mean over all ranks of logits [..., K], equally many on each rank."""
        batch = comm.mean(wide(logits).flatten(0, -2).mean(dim=0))
        self.mean.lerp_(batch.to(self.mean.dtype), 1 - self.momentum)

    @torch.no_grad()
    def update_by(self, total: Tensor, count: Tensor) -> None:
        """The same where ranks have different numbers of rows; of none at all it stays.

        Args:
            total: [K] sum of this rank's rows of logits.
            count: scalar, how many they are.
        """
        both = comm.total(torch.cat([wide(total), count[None].to(wide(total).dtype)]))
        mean = (both[:-1] / both[-1].clamp(min=1)).to(self.mean.dtype)
        some = (both[-1] > 0).to(mean.dtype)
        self.mean.lerp_(mean, (1 - self.momentum) * some)


@torch.no_grad()
def entropies(target: Tensor) -> dict[str, Tensor]:
    """How sharp assignments are and how evenly they use the prototypes, over all ranks.

    Args:
        target: [..., K] probabilities.

    Returns:
        "target_entropy", the mean over samples of H(target) / ln K, and "usage_entropy",
        H(mean target) / ln K; scalars in [0, 1]. Both 0: one prototype takes everything. Both 1:
        every target is uniform and there is nothing to learn.
    """
    rows = target.flatten(0, -2)
    each = torch.special.entr(rows).sum()
    count = torch.full_like(each, len(rows))  # ranks may have different numbers of rows, or none
    sums = comm.total(torch.cat([rows.sum(dim=0), torch.stack([each, count])]))
    parts = sums[:-1] / sums[-1].clamp(min=1)
    ceiling = math.log(target.shape[-1])
    return {
        "target_entropy": parts[-1] / ceiling,
        "usage_entropy": torch.special.entr(parts[:-1]).sum() / ceiling,
    }
