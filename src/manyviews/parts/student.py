"""A student that is shown views with hidden patches, and what a teacher says of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from manyviews.core import Batch, Hide, flat
from manyviews.parts.branch import Branch
from manyviews.parts.crops import encode_local
from manyviews.parts.masking import check_views
from manyviews.parts.prototypes import IBOTHead, TwoHeads


@dataclass(frozen=True)
class Taught:
    """What a teacher says: [B V, D] pooled, [B, V, K] of views, [M, K] of hidden patches.

    Attributes:
        pooled: its features of whole global views.
        views: targets of those views.
        patches: targets of what the student's views hide, in the order of the masks.
        fresh: what its centres learn after the step.
    """

    pooled: Tensor
    views: Tensor
    patches: Tensor
    fresh: Mapping[str, Tensor]


@dataclass(frozen=True)
class Answers:
    """What a student says.

    Attributes:
        h: [B, V, D] features of the global views with hidden patches.
        z: [B, V + L, P] unit vectors before the prototypes, global views first.
        scores: [B, V + L, K] of views.
        patches: [M, K] scores of the hidden patches.
    """

    h: Tensor
    z: Tensor
    scores: Tensor
    patches: Tensor


def see(branch: Branch, batch: Batch, hidden: Tensor, token: Tensor, method: str) -> Answers:
    """Global views with hidden patches and local views as they are, through encoder and head.

    Args:
        branch: whose head is an `IBOTHead` or `TwoHeads`.
        batch: "global" [B, V, C, H, W] and perhaps "local".
        hidden: [B V, N] bool, of the global views.
        token: [D], what stands in the places of hidden patches.
        method: for the message.

    Raises:
        UsageError: views or masks are not what the encoder is fed.
    """
    views, head = batch.views["global"], cast(IBOTHead | TwoHeads, branch.head)
    images = views.flatten(0, 1)
    check_views(branch.encoder, images, hidden, method)
    found = branch.encoder(images, hide=Hide(hidden, token))
    h = found.pooled.unflatten(0, views.shape[:2])
    z = flat(head.embed, encode_local(branch.encoder, h, batch.views))
    return Answers(h, z, head.last_layer(z), head.score_patches(found.tokens, hidden))
