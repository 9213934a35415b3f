"""CorLoc against hand values."""

import pytest
import torch

from manyviews.core import UsageError
from manyviews.evaluation.dense.boxed import Boxes
from manyviews.evaluation.dense.corloc import corloc, overlaps

torch.set_num_threads(1)


def boxes(*rows, crowd=()):
    count = len(rows)
    xyxy = torch.tensor(rows, dtype=torch.float64).view(-1, 4)
    crowds = torch.tensor([i in crowd for i in range(count)], dtype=torch.bool)
    return Boxes(xyxy, torch.zeros(count, dtype=torch.int64), crowds)


def test_overlaps_by_hand():
    one = torch.tensor([0.0, 0, 10, 10])
    others = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [0, 0, 10, 5], [10, 0, 20, 10]])
    assert overlaps(one, others).tolist() == pytest.approx([1, 1 / 3, 1 / 2, 0])


def test_any_thing_counts_and_no_crowd():
    there = [
        boxes((0, 0, 10, 10), (20, 20, 40, 40)),
        boxes((0, 0, 10, 10)),
        boxes((0, 0, 10, 10), crowd=(0,)),
        boxes(),
    ]
    second = torch.tensor([[20.0, 20, 40, 40], [0, 0, 10, 4.9], [0, 0, 10, 10], [0, 0, 1, 1]])
    half = torch.tensor([[20.0, 20, 40, 30], [0, 0, 10, 5], [0, 0, 10, 10], [0, 0, 1, 1]])
    result = corloc({"one": second.double(), "other": half.double()}, there)
    found = {name: one.value for name, one in result.measures.items()}
    assert found == {"CorLoc of one": 0.5, "CorLoc of other": 1}
    assert (result.n, result.notes) == (2, ("2 images have no box and are left out",))
    with pytest.raises(UsageError, match="No image has a box around a single thing"):
        corloc({"one": second[2:].double()}, there[2:])
