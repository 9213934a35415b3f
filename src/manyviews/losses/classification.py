"""Cross-entropy with classes that are known from how a view was made."""

import torch.nn.functional as F
from torch import Tensor

from manyviews.losses.precision import full_precision


@full_precision
def classify(logits: Tensor, target: Tensor) -> Tensor:
    """The mean of -log softmax(logits)[target], over this rank's rows.

    Args:
        logits: [..., K].
        target: [...] int64 in [0, K).

    Returns:
        Scalar, float32 (float64 if logits are), even under autocast.
    """
    return F.cross_entropy(logits.flatten(0, -2), target.flatten())
