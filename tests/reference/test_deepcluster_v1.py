"""DeepCluster, the first version, against its formulas."""

import pytest
import torch
from raw import Raw, assert_same, gaussian

from manyviews.core import Batch, Clock, Given, UsageError
from manyviews.methods.clustering.deepcluster_v1 import DeepClusterV1, DeepClusterV1Config
from manyviews.parts.cluster import UNASSIGNED
from manyviews.parts.whitening import whitened

SAMPLES, CLUSTERS = 40, 4


def make():
    torch.manual_seed(0)
    config = DeepClusterV1Config(clusters=CLUSTERS, components=3, rounds=5)
    return DeepClusterV1(Given({"image": Raw(6)}, SAMPLES), config).double()


def grouped():
    """Four groups of 4, 6, 10 and 20 samples, far apart."""
    group = torch.tensor([0] * 4 + [1] * 6 + [2] * 10 + [3] * 20)
    centres = 10 * torch.eye(6, dtype=torch.float64)[:4]
    return centres[group] + 0.1 * gaussian(5, SAMPLES, 6).detach(), group


def begun(method, rows):
    torch.manual_seed(1)
    method.before_epoch(Clock(0, 10), lambda embed: embed({"image": rows}))
    return method


def test_the_loss_is_the_papers_with_clusters_sampled_alike():
    """Equation 1 in expectation over a sampler that is uniform over clusters."""
    method, (rows, _) = make(), grouped()
    begun(method, rows)
    views, index = gaussian(3, SAMPLES, 1, 6), torch.arange(SAMPLES)
    step = method(Batch({"global": views}, index), Clock(0, 1))
    cluster, total = method.assigned.cluster, 0.0
    present = cluster.unique()
    for k in present:
        own = 0.0
        members = (cluster == k).nonzero()[:, 0]
        for i in members:
            scores = method.head.weight @ views[i, 0] + method.head.bias
            own = own - (scores[k] - scores.logsumexp(0))
        total = total + own / len(members) / len(present)
    assert_same(step.total, total, [views, method.head.weight], rtol=1e-9, atol=1e-12)


def test_weights_have_mean_one_and_are_alike_within_a_cluster():
    method, (rows, _) = make(), grouped()
    begun(method, rows)
    kept = method.assigned
    assert kept.weight.mean().item() == pytest.approx(1)
    sums = torch.stack([kept.weight[kept.cluster == k].sum() for k in kept.cluster.unique()])
    torch.testing.assert_close(sums, sums[:1].expand_as(sums))


def test_a_sample_that_cannot_be_read_has_no_cluster_and_no_weight():
    method, (rows, _) = make(), grouped()
    rows[5] = torch.nan
    kept = begun(method, rows).assigned
    assert kept.cluster[5] == UNASSIGNED
    assert kept.weight[5] == 0
    views = gaussian(3, 2, 1, 6).detach()
    one = method(Batch({"global": views}, torch.tensor([5, 6])), Clock(0, 1)).total
    two = method(Batch({"global": views[1:]}, torch.tensor([6])), Clock(0, 1)).total
    torch.testing.assert_close(2 * one, two)


def test_every_epoch_begins_a_new_classifier():
    method, (rows, _) = make(), grouped()
    method.head.bias.data.fill_(3.0)
    before = method.head.weight.clone()
    begun(method, rows)
    assert not method.head.bias.any()
    assert not torch.equal(method.head.weight, before)
    assert method.head.weight.std().item() == pytest.approx(0.01, rel=0.5)


def test_embedding_all_leaves_every_module_in_its_mode():
    method, (rows, _) = make(), grouped()
    method.train()
    seen = []
    method.backbone.register_forward_hook(lambda module, *_: seen.append(module.training))
    begun(method, rows)
    assert seen == [False]
    assert all(module.training for module in method.modules())


def test_whitened_rows_have_variance_one_along_uncorrelated_directions():
    """clustering.py, preprocess_features: faiss.PCAMatrix with eigen_power -0.5."""
    rows = gaussian(7, 200, 5).detach() @ gaussian(8, 5, 5).detach() + 3
    white = whitened(rows, components=3)
    assert white.shape == (200, 3)
    torch.testing.assert_close(
        white.mean(dim=0), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0
    )
    torch.testing.assert_close(white.T @ white / 200, torch.eye(3, dtype=torch.float64))
    centred = rows - rows.mean(dim=0)
    main = torch.linalg.svd(centred, full_matrices=False).Vh[:3]
    along = torch.corrcoef(torch.cat([white, centred @ main.T], dim=1).T)[:3, 3:].abs()
    torch.testing.assert_close(along, torch.eye(3, dtype=torch.float64), atol=1e-6, rtol=0)


def test_directions_without_variance_become_nothing():
    rows = torch.cat([gaussian(9, 50, 2).detach(), torch.ones(50, 3, dtype=torch.float64)], dim=1)
    white = whitened(rows, components=5)
    assert white.isfinite().all()
    assert not white[:, 2:].any()


def test_too_few_embeddings_are_refused():
    with pytest.raises(UsageError, match="needs 2 or more finite embeddings and got 1"):
        whitened(torch.tensor([[1.0, 2.0], [torch.nan, 0.0]]), components=2)
