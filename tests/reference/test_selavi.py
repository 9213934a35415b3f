"""SeLaVi against its formula and against labels of the authors' code (data/README.md)."""

import itertools

import pytest
import torch
from raw import Raw, assert_same, gaussian, load

from manyviews.core import Batch, Clock, Given
from manyviews.methods.audiovisual.selavi import SeLaVi, SeLaViConfig
from manyviews.parts.agreement import matched
from manyviews.parts.cluster import UNASSIGNED
from manyviews.parts.transport import by_rank, due, transported

SAVED = load("selavi")
SAMPLES, CLUSTERS = 24, 4
ROWS = {"video": gaussian(1, SAMPLES, 6).detach(), "audio": gaussian(2, SAMPLES, 5).detach()}


def make(**settings):
    torch.manual_seed(0)
    config = SeLaViConfig(clusters=CLUSTERS, heads=2, hidden=7, **settings)
    return SeLaVi(Given({"video": Raw(6), "audio": Raw(5)}, SAMPLES), config).double()


def begun(method, rows=ROWS, epoch=0, epochs=10):
    method.before_epoch(Clock(0, 10, epoch, epochs), lambda embed: embed(rows))
    return method


def predicted(method, name, number):
    head = method.heads[name][number].eval()
    found = head(ROWS[name]).detach().softmax(dim=1)
    head.train()
    return found


@pytest.mark.parametrize("name", ["few", "sharp"])
def test_labels_are_those_of_the_authors_code(name):
    both = SAVED[f"{name}.video"] * SAVED[f"{name}.audio"]
    for kind, shares in (("default", None), ("gauss", SAVED[f"{name}.shares"])):
        labels = transported(both, sharpness=10.0, tolerance=0.1, shares=shares)
        assert torch.equal(labels, SAVED[f"{name}.{kind}.labels"])
    assert not torch.equal(SAVED[f"{name}.default.labels"], SAVED[f"{name}.gauss.labels"])


def test_classes_are_filled_as_their_shares_say():
    p = gaussian(3, 4000, 4).detach().softmax(dim=1)
    shares = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    labels = transported(p, sharpness=10.0, tolerance=0.001, shares=shares)
    sizes = labels.bincount(minlength=4) / len(labels)
    torch.testing.assert_close(sizes.double(), shares, atol=0.01, rtol=0)


def test_the_class_that_has_most_takes_the_largest_share():
    p = torch.tensor([[0.2, 0.5, 0.1, 0.2], [0.1, 0.3, 0.3, 0.4]])  # in sum .3, .8, .4, .6
    assert by_rank(torch.tensor([0.1, 0.2, 0.3, 0.4]), p).tolist() == pytest.approx(
        [0.1, 0.4, 0.2, 0.3]
    )


def test_the_loss_is_half_of_each_modalitys_mean_over_heads():
    method = begun(make())
    index = torch.tensor([3, 9, 20, 1, 7])
    views = {"video": gaussian(4, 5, 2, 6), "audio": gaussian(5, 5, 2, 5)}
    losses = method(Batch(views, index), Clock(0, 1)).losses
    for name, view in views.items():
        total = 0.0
        for head, labels in zip(method.heads[name], method.classes.items, strict=True):
            h = view.flatten(0, 1) @ head[0].weight.T
            h = (h - h.mean(dim=0)) / (h.var(dim=0, unbiased=False) + 1e-5).sqrt()
            h = (h * head[1].weight + head[1].bias).relu()
            scores = h @ head[3].weight.T + head[3].bias
            own = labels[index].repeat_interleave(2)
            log_p = scores - scores.logsumexp(dim=1, keepdim=True)
            total = total - log_p[torch.arange(10), own].mean() / 2 / 2
        inputs = [view, method.heads[name][0][3].weight]
        assert_same(losses[name], total, inputs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("align", [False, True])
def test_labels_come_from_what_both_modalities_predict(align):
    """Where classes of sound were numbered anew, from their new numbers."""
    method = begun(make(align=align, spread=0.0))
    for number, labels in enumerate(method.classes.items):
        both = predicted(method, "video", number) * predicted(method, "audio", number)
        assert torch.equal(labels, transported(both, sharpness=10.0, tolerance=0.1))
        for name in ROWS:
            alone = transported(predicted(method, name, number), sharpness=10.0, tolerance=0.1)
            assert not torch.equal(labels, alone)
    assert not torch.equal(*method.classes.items)


def test_sizes_of_classes_are_drawn_once_and_kept():
    method = make(spread=0.3)
    torch.testing.assert_close(method.shares.sum(dim=1), torch.ones(2).double(), atol=1e-6, rtol=0)
    assert (method.shares.diff(dim=1) >= 0).all()
    assert method.shares.std() > 0.02
    before = method.shares.clone()
    assert torch.equal(begun(method).shares, before)
    assert torch.equal(make(spread=0.0).shares, torch.full((2, 4), 0.25).double())


def test_exchanges_that_differ_by_rounding_alone_are_made_in_order():
    one = torch.tensor([[0.0, 5, 5]], dtype=torch.float64)
    for least in ([5, 1e-14, 0], [5, 0, 1e-14]):
        assert matched(one, torch.tensor([least], dtype=torch.float64)).tolist() == [1, 0, 2]


def test_columns_are_matched_so_that_no_exchange_makes_them_more_alike():
    one = gaussian(6, 30, 5).detach().softmax(dim=1)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.equal(matched(one, one[:, order.argsort()]), order)
    two = gaussian(7, 30, 5).detach().softmax(dim=1)
    found = matched(one, two)
    apart = (one - two[:, found]).abs().sum()
    assert apart < (one - two).abs().sum()
    for i, j in itertools.combinations(range(5), 2):
        other = found.clone()
        other[[i, j]] = found[[j, i]]
        assert (one - two[:, other]).abs().sum() >= apart - 1e-9


def test_classes_of_sound_are_numbered_as_those_of_pictures_before_the_first_labels_only():
    method = make()
    loud = [predicted(method, "audio", number) for number in range(2)]
    begun(method)
    for number in range(2):
        seen, heard = (predicted(method, name, number) for name in ("video", "audio"))
        torch.testing.assert_close(heard, loud[number][:, matched(seen, loud[number])])
    before = [head[3].weight.clone() for head in method.heads["audio"]]
    method.heads["video"][0][3].weight.data.copy_(method.heads["video"][0][3].weight.flip(0))
    begun(method, epoch=9)
    assert all(
        torch.equal(head[3].weight, old)
        for head, old in zip(method.heads["audio"], before, strict=True)
    )


def test_a_sample_that_cannot_be_read_has_no_label():
    rows = {name: x.clone() for name, x in ROWS.items()}
    rows["audio"][2] = torch.nan
    items = begun(make(), rows).classes.items
    assert torch.equal((items == UNASSIGNED).nonzero(), torch.tensor([[0, 2], [1, 2]]))


def test_labels_are_given_densely_at_first():
    """main.py: at epochs E * linspace(0, 1, n)^1.5; here never more than once an epoch."""
    at = [e for e in range(65) if due(Clock(0, 1, e, 64), times=5, power=1.5)]
    assert at == [0, 8, 23, 42, 64]  # 64 * (j / 4)^1.5 = 0, 8, 22.6, 41.6, 64
    method = begun(make(labellings=5))
    before = method.classes.items.clone()
    begun(method, {k: x.flip(0) for k, x in ROWS.items()}, epoch=2, epochs=64)
    assert torch.equal(method.classes.items, before)
    begun(method, {k: x.flip(0) for k, x in ROWS.items()}, epoch=8, epochs=64)
    assert not torch.equal(method.classes.items, before)
