import math

import pytest
import torch

from manyviews.core import UsageError
from manyviews.diagnosis.rank import effective_rank, participation_ratio, rankme
from manyviews.diagnosis.spectrum import alpha_req, collapse_level, singular_values


def with_values(values, *, n=200, d=None, seed=0):
    """[n, d] whose columns have mean 0 and whose singular values are known."""
    g = torch.Generator().manual_seed(seed)
    d = d or len(values)
    left = torch.randn(n, len(values), generator=g, dtype=torch.float64)
    left = torch.linalg.qr(left - left.mean(dim=0)).Q
    right = torch.linalg.qr(torch.randn(d, len(values), generator=g, dtype=torch.float64)).Q
    return left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right.T


def test_singular_values_are_those_that_were_put_in():
    values = [5.0, 3.0, 3.0, 0.5]
    found = singular_values(with_values(values, d=6))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found[:4], torch.tensor(values).double())
    assert found[4:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("shape", [(50, 7), (7, 50), (9000, 3)])
@pytest.mark.parametrize("centred", [False, True])
def test_both_gram_matrices_agree_with_the_decomposition(shape, centred):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)) + 0.5
    rows = x.double() - x.double().mean(dim=0) if centred else x.double()
    expected = torch.linalg.svdvals(rows)
    found = singular_values(x, centred=centred)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-6)


def test_ranks_of_an_even_spectrum_count_its_directions():
    x = with_values([2.0] * 12, d=64)
    assert effective_rank(x) == pytest.approx(12)
    assert participation_ratio(x) == pytest.approx(12)
    # eps on the 52 unused directions: 12 * exp(-52 * 1e-7 * ln 1e-7), to first order
    assert rankme(x) == pytest.approx(12 * math.exp(52 * 1e-7 * math.log(1e7)), rel=1e-5)


def test_ranks_of_an_uneven_spectrum_follow_their_formulas():
    values = torch.tensor([4.0, 2.0, 1.0, 1.0], dtype=torch.float64)
    x = with_values(values.tolist())
    p = values / values.sum()
    expected = math.exp(-float((p * p.log()).sum()))
    assert effective_rank(x) == pytest.approx(expected)
    assert rankme(x) == pytest.approx(expected, rel=1e-5)
    squares = values.square()
    assert participation_ratio(x) == pytest.approx(
        float(squares.sum() ** 2 / squares.square().sum())
    )


def test_rankme_does_not_centre_and_the_effective_rank_does():
    x = with_values([1.0] * 8) + 1000.0
    assert rankme(x) < 1.1
    assert effective_rank(x) == pytest.approx(8, rel=1e-6)
    assert effective_rank(x, centred=False) == pytest.approx(rankme(x), rel=1e-4)


def test_equal_features_have_no_direction():
    x = torch.full((20, 5), 3.0)
    assert effective_rank(x) == 0.0
    assert participation_ratio(x) == 0.0
    assert rankme(x) == pytest.approx(1.0, abs=1e-4)
    assert rankme(torch.zeros(20, 5)) == 0.0


def test_scale_does_not_matter():
    x = with_values([4.0, 2.0, 1.0]).float()
    for f in (rankme, effective_rank, participation_ratio):
        assert f(1e-6 * x) == pytest.approx(f(x), rel=1e-4)


def test_the_collapse_level_goes_from_even_to_one_direction():
    assert collapse_level(torch.ones(100)) == pytest.approx(0.5)
    one = torch.zeros(100)
    one[0] = 7.0
    assert collapse_level(one) == pytest.approx(1 - 0.5 / 100)
    half = torch.cat([torch.ones(50), torch.zeros(50)])
    assert collapse_level(half) == pytest.approx(0.75)
    assert collapse_level(torch.zeros(5)) == 1.0


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5])
def test_alpha_is_the_exponent_of_the_eigenvalues(alpha):
    values = torch.arange(1, 201, dtype=torch.float64) ** (-alpha / 2)
    assert alpha_req(values) == pytest.approx(alpha)
    assert alpha_req(values, first=10, last=50) == pytest.approx(alpha)


def test_alpha_of_too_short_a_spectrum_is_refused():
    with pytest.raises(UsageError, match="alpha-ReQ"):
        alpha_req(torch.ones(6))


@pytest.mark.parametrize(
    ("x", "word"),
    [
        (torch.ones(3), "[N, D]"),
        (torch.ones(0, 3), "non-empty"),
        (torch.ones(3, 2, 2), "image-level"),
        (torch.tensor([[1.0, math.nan]]), "diverged"),
        (torch.tensor([[1.0, math.inf]]), "diverged"),
    ],
)
def test_what_has_no_spectrum_is_refused_in_one_line(x, word):
    with pytest.raises(UsageError) as caught:
        rankme(x)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
