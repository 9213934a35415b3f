"""ELo's measure against values written out by hand, and on clusters that are planted."""

import math

import pytest
import torch

from manyviews.core import UsageError
from manyviews.diagnosis.zipf import from_zipf, soft_sizes, zipf_divergence


def law(count, exponent=1.0):
    q = torch.arange(1, count + 1, dtype=torch.float64).pow(-exponent)
    return q / q.sum()


def planted(sizes, *, dim=20, far=50.0, seed=0):
    """Features in well separated clusters of so many rows."""
    g = torch.Generator().manual_seed(seed)
    centres = far * torch.randn(len(sizes), dim, generator=g)
    rows = torch.cat([c.expand(n, dim) for c, n in zip(centres, sizes, strict=True)])
    return rows + torch.randn(rows.shape, generator=g)


def test_sizes_that_follow_the_law_are_at_no_distance():
    assert from_zipf(law(9), exponent=1.0) == pytest.approx(0, abs=1e-12)
    assert from_zipf(7 * law(9, 0.5), exponent=0.5) == pytest.approx(0, abs=1e-12)
    assert from_zipf(law(9, 0.5), exponent=1.0) > 0.01


def test_the_divergence_is_of_the_sizes_from_the_law_and_not_the_reverse():
    # The law has two thirds and one third.
    by_hand = 0.5 * math.log(0.5 * 3 / 2) + 0.5 * math.log(0.5 * 3)
    assert from_zipf(torch.tensor([3.0, 3.0]), exponent=1.0) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(0.0588915)
    # An empty cluster adds nothing; the law of three has elevenths.
    by_hand = 0.75 * math.log(0.75 * 11 / 6) + 0.25 * math.log(0.25 * 11 / 3)
    assert from_zipf(torch.tensor([3.0, 1.0, 0.0]), exponent=1.0) == pytest.approx(by_hand)


def test_rows_belong_to_clusters_in_part():
    x, centres = torch.tensor([[0.0], [2.0], [2.0]]), torch.tensor([[0.0], [2.0]])
    own = 1 / (1 + math.exp(-4))  # of squared distances 0 and 4
    sizes = soft_sizes(x, centres, width=1.0)
    assert sizes.tolist() == pytest.approx([(1 + own) / 3, (2 - own) / 3])
    own = 1 / (1 + math.exp(-2))
    assert soft_sizes(x, centres, width=2.0)[0].item() == pytest.approx((1 + own) / 3)
    assert soft_sizes(x, centres, width=0.0).tolist() == pytest.approx([2 / 3, 1 / 3])


def test_planted_clusters_are_ranked_by_how_near_their_sizes_are_to_the_law():
    as_the_law = [round(400 * float(q)) for q in law(8)]
    found = {
        name: zipf_divergence(planted(sizes), clusters=8)
        for name, sizes in {
            "law": as_the_law,
            "even": [50] * 8,
            "nearly one": [386, 2, 2, 2, 2, 2, 2, 2],
        }.items()
    }
    assert found["law"] < 0.01
    even = from_zipf(torch.ones(8), exponent=1.0)
    assert found["even"] == pytest.approx(even, abs=0.01)
    assert found["law"] < found["even"] < found["nearly one"]


def test_features_that_are_all_the_same_are_one_cluster():
    harmonic = sum(1 / i for i in range(1, 6))
    found = zipf_divergence(torch.ones(40, 3), clusters=5)
    assert found == pytest.approx(math.log(harmonic))


def test_neither_scale_nor_turn_nor_shift_matters():
    x = planted([40, 30, 20, 10], far=2.0)
    turn = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(3)))[0]
    plain = zipf_divergence(x, clusters=4)
    assert zipf_divergence(7 * x @ turn + 5, clusters=4) == pytest.approx(plain, abs=1e-3)
    # where the paper's width is taken, scale does
    narrow = zipf_divergence(x, clusters=4, width=1.0)
    assert zipf_divergence(0.01 * x, clusters=4, width=1.0) != pytest.approx(narrow, abs=0.01)


def test_what_cannot_be_clustered_is_refused():
    with pytest.raises(UsageError, match="wants 9 clusters of 4 rows"):
        zipf_divergence(torch.randn(4, 2), clusters=9)
    with pytest.raises(UsageError, match="NaN or infinity"):
        zipf_divergence(torch.full((9, 2), math.nan), clusters=3)
    with pytest.raises(UsageError, match="0 repeats of k-means"):
        zipf_divergence(torch.randn(9, 2), clusters=3, repeats=0)
