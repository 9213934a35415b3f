import math

import pytest
import torch
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from manyviews.core import UsageError
from manyviews.diagnosis.alarms import RULES, Numbers
from manyviews.diagnosis.prototypes import prototype_usage


def test_soft_assignments_give_scipys_entropies():
    g = torch.Generator().manual_seed(0)
    p = (2 * torch.randn(50, 8, generator=g)).softmax(dim=1)
    found = prototype_usage(p)
    used, each = entropy(p.mean(dim=0)), entropy(p, axis=1).mean()
    assert found.perplexity == pytest.approx(math.exp(used) / 8, rel=1e-5)
    assert found.usage_entropy == pytest.approx(used / math.log(8), rel=1e-5)
    assert found.target_entropy == pytest.approx(each / math.log(8), rel=1e-5)
    assert found.information == pytest.approx(used - each, rel=1e-4)
    assert found.dead == 8 - len(set(p.argmax(dim=1).tolist()))
    assert found.prototypes == 8


def test_information_of_decided_assignments_is_that_of_image_and_prototype():
    which = torch.tensor([0, 0, 1, 3, 3, 3])
    found = prototype_usage(torch.eye(5)[which])
    assert found.information == pytest.approx(mutual_info_score(range(6), which.tolist()))
    assert found.dead == 2
    assert found.target_entropy == 0


def test_a_prototype_that_is_always_second_is_dead():
    p = torch.tensor([[0.5, 0.4, 0.1], [0.1, 0.4, 0.5]])
    found = prototype_usage(p)
    assert found.dead == 1
    assert found.perplexity > 0.9


def named(found):
    """The alarms that these numbers would raise."""
    numbers = Numbers(target_entropy=found.target_entropy, usage_entropy=found.usage_entropy)
    about = ("target_entropy", "usage_entropy")
    return {rule.name for rule in RULES if rule.about in about and rule.holds(numbers)}


def test_each_collapse_has_its_signature_and_its_alarm():
    even = prototype_usage(torch.full((100, 10), 0.1))
    assert even.target_entropy == pytest.approx(1)
    assert even.information == pytest.approx(0, abs=1e-9)
    assert named(even) == {"uniform_assignments"}
    one = prototype_usage(torch.eye(10)[torch.zeros(100, dtype=torch.int64)])
    assert (one.perplexity, one.dead, one.information) == (pytest.approx(0.1), 9, 0)
    assert named(one) == {"one_prototype"}
    healthy = prototype_usage(torch.eye(10)[torch.arange(100) % 10])
    assert (healthy.perplexity, healthy.dead) == (pytest.approx(1), 0)
    assert healthy.information == pytest.approx(math.log(10))
    assert named(healthy) == set()


@pytest.mark.parametrize(
    ("p", "word"),
    [
        (torch.randn(5, 4), "not the logits"),
        (torch.full((5, 4), 0.5), "of sum 2"),
        (torch.tensor([[1.5, -0.5]]), "-0.5"),
        (torch.ones(5, 1), "two or more"),
        (torch.ones(0, 4), "non-empty"),
        (torch.full((5, 4), math.nan), "NaN"),
    ],
)
def test_what_is_no_assignment_is_refused_in_one_line(p, word):
    with pytest.raises(UsageError) as caught:
        prototype_usage(p)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
