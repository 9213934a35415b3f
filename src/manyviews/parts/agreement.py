"""Which samples two modalities hold for alike."""

from typing import Literal

import torch
from torch import Tensor

from manyviews.core import comm

Agreement = Literal["consensus", "union", "video", "audio"]

UNMINED = -1
"""Instead of a sample, before any were looked for."""

_ROWS = 1024
"""Samples that are compared with all others at once."""


@torch.no_grad()
def agreeing(video: Tensor, audio: Tensor, *, count: int, by: Agreement) -> Tensor:
    """For each sample the others that are most alike to it.

    Alike is the cosine of pictures or of sounds, the less of both ("consensus": alike in both) or
    the greater ("union": in either). Of equal ones any.

    Args:
        video: [N, D] unit vectors.
        audio: [N, E] likewise.
        count: P, below N.
        by: which similarity.

    Returns:
        [N, P] int64, in the order of samples; a sample is not among its own.

    Source: Morgado et al. 2021, section 4.1; facebookresearch/AVID-CMA criterions/avid_cma.py,
    `CMASampler`, which takes what is most alike for the sample itself.
    """
    found: list[Tensor] = []
    for rows in torch.arange(len(video), device=video.device).split(_ROWS):
        seen, heard = video[rows] @ video.T, audio[rows] @ audio.T
        if by == "consensus":
            alike = torch.minimum(seen, heard)
        else:
            alike = {"video": seen, "audio": heard}.get(by, torch.maximum(seen, heard))
        alike.scatter_(1, rows[:, None], -torch.inf)
        found.append(alike.topk(count, dim=1).indices.sort(dim=1).values)
    return torch.cat(found)


@torch.no_grad()
def matched(one: Tensor, two: Tensor) -> Tensor:
    """The order of the second's columns in which they are most like the first's.

    Begins with the order that there is, and exchanges the two columns that brings the sum of
    absolute differences down the most until no exchange does; of those that do it as much, but for
    rounding, the first.

    Args:
        one: [n, K], this rank's rows.
        two: [n, K], of the same rows.

    Returns:
        [K] int64, the same on every rank.

    Source: facebookresearch/selavi src/sk_utils.py, match_order, which tries exchanges at random.
    """
    cost = comm.total(torch.stack([(column[:, None] - two).abs().sum(0) for column in one.T]))
    order = torch.arange(len(cost), device=cost.device)
    while True:
        now = cost[:, order]
        own = now.diagonal()
        gain = own[:, None] + own - now - now.T
        most, rounding = gain.max(), 1e-9 * own.sum()
        if most <= rounding:
            return order
        best = (gain.flatten() >= most - rounding).nonzero()[0, 0]
        pair = torch.stack([best // len(cost), best % len(cost)])
        order[pair] = order[pair.flip(0)]
