"""Order of clips against loops over orders and pairs, as VCOP's network and papers have them."""

import itertools

import pytest
import torch
from raw import Raw, assert_same, batch_of, gaussian

from manyviews.core import Clock, UsageError
from manyviews.core.settings import check
from manyviews.methods.pretext.clip_order import ClipOrder, ClipOrderConfig
from tiny import given

CLOCK = Clock(0, 10)


def small(clips=3, answer="sort"):
    torch.manual_seed(0)
    return ClipOrder(given(Raw(4)), ClipOrderConfig(clips=clips, hidden=5, answer=answer)).double()


def answers(clips, answer):
    """Class of each order, by the papers' words."""
    orders = list(itertools.permutations(range(clips)))
    if answer == "sort":
        return orders, list(range(len(orders)))
    forth = tuple(range(clips))
    if answer == "verify":  # b, c, d and d, c, b are right; all others wrong (Misra, section 3.1)
        return orders, [int(order in (forth, forth[::-1])) for order in orders]
    groups = []  # an order and its reverse are one class (Lee, section 3.2)
    for order in orders:
        if order[::-1] not in groups:
            groups.append(order)
    return orders, [groups.index(o if o in groups else o[::-1]) for o in orders]


@pytest.mark.parametrize(
    ("clips", "answer"),
    [(2, "sort"), *((n, a) for n in (3, 4) for a in ("sort", "either-way", "verify"))],
)
def test_the_loss_and_its_gradient_are_those_of_every_order_by_itself(clips, answer):
    method = small(clips, answer)
    views = [gaussian(seed, 3, 4) for seed in range(clips)]
    orders, classes = answers(clips, answer)
    terms = []
    for sample in range(3):
        for order, wanted in zip(orders, classes, strict=True):
            shown = [views[k][sample] for k in order]
            pairs = [torch.cat([a, b]) for a, b in itertools.combinations(shown, 2)]
            logits = method.head(torch.cat([method.pair_head(pair) for pair in pairs]))
            terms.append(logits.logsumexp(dim=0) - logits[wanted])
    assert_same(method(batch_of(*views), CLOCK).total, torch.stack(terms).mean(), views)


def test_there_are_as_many_answers_as_the_papers_have():
    assert [small(3, a).head.out_features for a in ("sort", "either-way", "verify")] == [6, 3, 2]
    assert small(4, "either-way").head.out_features == 12  # Lee et al., section 3.2
    assert sum(small(3, "verify").classes.tolist()) == 2


def test_clips_that_are_all_alike_cannot_be_put_in_order():
    method, x = small(), gaussian(0, 3, 4)
    logits = method(batch_of(x, x, x), CLOCK).total
    assert logits.item() >= torch.tensor(6.0).log().item() - 1e-9


def test_it_wants_as_many_clips_as_it_sorts():
    assert small(4).needs == small(4).most == {"global": 4}


@pytest.mark.parametrize("answer", ["either-way", "verify"])
def test_two_clips_are_in_order_either_way(answer):
    with pytest.raises(
        UsageError, match=f"clips is 2; wanted 3 or more, as the answer is {answer}"
    ):
        check(ClipOrderConfig(clips=2, answer=answer), "method.")
