import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from manyviews.core import UsageError
from manyviews.evaluation.clusters import nmi_purity


@pytest.mark.parametrize("seed", range(3))
def test_they_are_scikit_learns(seed):
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(6, (150,), generator=g) * 3
    clusters = torch.where(torch.rand(150, generator=g) < 0.6, labels + 7, 11)
    nmi, purity = nmi_purity(clusters, labels)
    assert nmi == pytest.approx(normalized_mutual_info_score(labels, clusters))
    table = contingency_matrix(labels, clusters)
    assert purity == pytest.approx(table.max(axis=0).sum() / 150)
    assert nmi_purity(labels, clusters)[1] != pytest.approx(purity)


def test_the_ends_of_the_scale():
    labels = torch.tensor([0, 0, 1, 1])
    assert nmi_purity(torch.tensor([5, 5, 2, 2]), labels) == (pytest.approx(1), 1)
    assert nmi_purity(torch.zeros(4), labels) == (0, 0.5)
    assert nmi_purity(torch.arange(4), labels)[1] == 1
    assert nmi_purity(torch.zeros(4), torch.zeros(4)) == (1, 1)


def test_what_does_not_belong_together_is_refused_in_one_line():
    for clusters, labels in ((torch.zeros(3), torch.zeros(4)), (torch.zeros(0), torch.zeros(0))):
        with pytest.raises(UsageError, match="same samples") as caught:
            nmi_purity(clusters, labels)
        assert "\n" not in str(caught.value)
