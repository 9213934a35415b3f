"""Exemplar-CNN against its formula."""

import torch
from raw import Raw, assert_same, gaussian

from manyviews.core import Batch, Clock, Given
from manyviews.methods.pretext.exemplar import Exemplar, ExemplarConfig


def make(**settings):
    torch.manual_seed(0)
    return Exemplar(Given({"image": Raw(4)}, 11), ExemplarConfig(**settings)).double()


def test_the_loss_is_the_papers():
    """Equation 1 with 2: over samples and their transforms the mean of -log f_i(T x_i)."""
    method, views = make(hidden=5), gaussian(0, 3, 2, 4)
    index = torch.tensor([7, 0, 10])
    step = method(Batch({"global": views}, index), Clock(0, 1))
    [first] = method.neck[0]
    total = 0.0
    for sample, own in zip(views, index, strict=True):
        for x in sample:
            seen = (first.weight @ x + first.bias).relu()
            scores = method.classes.weight @ seen + method.classes.bias
            total = total - (scores[own] - scores.exp().sum().log()) / 6
    assert_same(
        step.total, total, [views, first.weight, method.classes.weight], rtol=1e-9, atol=1e-12
    )


def test_without_a_hidden_layer_the_features_themselves_are_told_apart():
    method, views = make(hidden=0), gaussian(1, 2, 1, 4)
    index = torch.tensor([3, 9])
    loss = method(Batch({"global": views}, index), Clock(0, 1)).total
    scores = views[:, 0] @ method.classes.weight.T + method.classes.bias
    torch.testing.assert_close(loss, -scores.log_softmax(dim=1)[range(2), index].mean())


def test_the_classes_are_of_these_samples():
    assert make(hidden=0).classes.of_samples
