"""What is larger than memory, or too small to be normalised, is one line and no dead process."""

import pytest
import torch

from manyviews.core import UsageError
from manyviews.parts.bank import Bank
from manyviews.parts.cluster import spherical_kmeans
from manyviews.parts.norm import BatchNorm
from manyviews.parts.queue import Queue


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
