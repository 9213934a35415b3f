"""SeLa against its formula and against labels of the authors' code (data/README.md)."""

import pytest
import torch
from raw import Raw, assert_same, gaussian, load

from manyviews.core import Batch, Clock, Given
from manyviews.methods.clustering.sela import SeLa, SeLaConfig
from manyviews.parts.cluster import UNASSIGNED
from manyviews.parts.transport import transported

SAVED = load("sela")
SAMPLES, CLUSTERS = 24, 4


def make(**settings):
    torch.manual_seed(0)
    config = SeLaConfig(clusters=CLUSTERS, heads=2, **settings)
    return SeLa(Given({"image": Raw(6)}, SAMPLES), config).double()


def begun(method, rows, epoch=0, epochs=10):
    method.before_epoch(Clock(0, 10, epoch, epochs), lambda embed: embed({"image": rows}))
    return method


@pytest.mark.parametrize("name", ["few", "sharp"])
def test_labels_are_those_of_the_authors_code(name):
    p = SAVED[f"{name}.p"]
    labels = transported(p, sharpness=25.0, tolerance=0.1)
    assert torch.equal(labels, SAVED[f"{name}.labels"])
    assert not torch.equal(labels, p.argmax(dim=1))


def test_classes_are_filled_alike_whatever_the_network_prefers():
    p = torch.cat([gaussian(1, 400, 5).detach(), torch.full((400, 1), 6.0)], dim=1).softmax(dim=1)
    sizes = transported(p, sharpness=25.0, tolerance=0.01).bincount(minlength=6)
    assert sizes.max() - sizes.min() <= 4


def test_the_loss_is_the_mean_over_heads_of_the_cross_entropy_with_their_labels():
    method = begun(make(), gaussian(2, SAMPLES, 6).detach())
    views, index = gaussian(3, 5, 2, 6), torch.tensor([3, 9, 20, 1, 7])
    step = method(Batch({"global": views}, index), Clock(0, 1))
    total = 0.0
    for head, labels in zip(method.heads, method.classes.items, strict=True):
        for sample, own in zip(views, labels[index], strict=True):
            for x in sample:
                scores = head.weight @ x + head.bias
                total = total - (scores[own] - scores.logsumexp(0)) / (5 * 2 * 2)
    inputs = [views, method.heads[0].weight, method.heads[1].bias]
    assert_same(step.total, total, inputs, rtol=1e-9, atol=1e-12)


def test_labels_come_from_the_heads_own_probabilities():
    method, rows = make(), gaussian(4, SAMPLES, 6).detach()
    begun(method, rows)
    for head, labels in zip(method.heads, method.classes.items, strict=True):
        p = head(rows.float().double()).softmax(dim=1)
        assert torch.equal(labels, transported(p, sharpness=25.0, tolerance=0.1))
    assert not torch.equal(*method.classes.items)


def test_a_sample_that_cannot_be_read_has_no_label():
    rows = gaussian(5, SAMPLES, 6).detach()
    rows[2] = torch.nan
    items = begun(make(), rows).classes.items
    assert torch.equal((items == UNASSIGNED).nonzero(), torch.tensor([[0, 2], [1, 2]]))


def test_labels_are_given_densely_at_first():
    """main.py: at epochs E * linspace(0, 1, n)^2; here never more than once an epoch."""
    assert labelled(make(labellings=5)) == [0, 1, 4, 9, 16]
    assert labelled(make(labellings=1000)) == [*range(17)]


def labelled(method):
    """The epochs of 16, and the end, before which samples are embedded."""
    rows, epochs = gaussian(6, SAMPLES, 6).detach(), []
    for epoch in range(17):

        def embed_all(f, *, at=epoch, **_):
            epochs.append(at)
            return rows

        method.before_epoch(Clock(0, 1, epoch, 16), embed_all)
    return epochs


def test_between_labellings_nothing_is_embedded():
    method = begun(make(labellings=5), gaussian(6, SAMPLES, 6).detach())
    before = method.classes.items.clone()
    begun(method, gaussian(7, SAMPLES, 6).detach(), epoch=2, epochs=16)
    assert torch.equal(method.classes.items, before)
    begun(method, gaussian(7, SAMPLES, 6).detach(), epoch=4, epochs=16)
    assert not torch.equal(method.classes.items, before)
