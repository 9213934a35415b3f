"""What is larger than memory, or too small to be normalised, is one line and no dead process."""

from functools import partial

import pytest
import torch

from manyviews.core import UsageError
from manyviews.losses import contrastive, margin
from manyviews.parts.bank import Bank
from manyviews.parts.cluster import spherical_kmeans
from manyviews.parts.norm import BatchNorm
from manyviews.parts.queue import Queue
from manyviews.parts.transport import transported

ALONE = torch.ones(1, 2, 4)
IN_BATCH = (
    partial(contrastive.nt_xent, temperature=0.1),
    partial(contrastive.multi_crop_nt_xent, temperature=0.1),
    lambda z: contrastive.batch_info_nce(*z.unbind(1), temperature=0.1),
    partial(contrastive.decoupled, temperature=0.1),
    partial(contrastive.debiased, temperature=0.1, prior=0.1),
    partial(margin.semi_hard_triplet, margin=0.2),
)
"""Losses whose negatives are the other samples of a batch."""


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Queue(10**11, 1000), "The queue of 100,000,000,000 rows of 1,000 numbers takes"),
        (lambda: Bank(10**11, 1000, momentum=0.5), "The bank of 100,000,000,000 rows"),
        (lambda: BatchNorm(4)(torch.zeros(1, 4)), "Batch norm needs more than one value"),
        (
            lambda: spherical_kmeans(torch.zeros(3, 4), count=8, rounds=1, setting="prototypes"),
            "8 clusters need as many embeddings; there are 3. Lower --method.prototypes",
        ),
        (
            lambda: transported(
                torch.ones(3, 8), sharpness=1.0, tolerance=0.1, setting="prototypes"
            ),
            "8 classes need as many embeddings; there are 3. Lower --method.prototypes",
        ),
        *((lambda loss=loss: loss(ALONE), "the batch has 1 sample. Raise") for loss in IN_BATCH),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, says):
    with pytest.raises(UsageError) as refused:
        make()
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("batch", [3, 5, 8, 11])
def test_a_queue_that_no_batch_divides_holds_the_last_rows(batch):
    queue, rows = Queue(8, 1), torch.arange(3 * batch).float()[:, None]
    for part in rows.split(batch):
        queue.push(part)
    assert sorted(queue.items.flatten().tolist()) == rows[-8:].flatten().tolist()
