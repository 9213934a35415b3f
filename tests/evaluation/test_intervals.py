import pytest
import torch
from scipy.stats import binomtest, norm, t

from manyviews.evaluation.intervals import apart, bootstrap, bootstrap_of, over_draws, student


def test_the_bootstrap_of_a_mean_is_as_wide_as_the_central_limit_theorem_says():
    x = torch.rand(2000, generator=torch.Generator().manual_seed(0)).square()
    found = bootstrap(x)
    half = norm.ppf(0.975) * float(x.std()) / 2000**0.5
    assert found.value == pytest.approx(float(x.double().mean()))
    assert (found.low, found.high) == pytest.approx(
        (found.value - half, found.value + half), abs=0.15 * half
    )


def test_the_same_items_always_give_the_same_interval():
    x = torch.arange(50.0)
    assert bootstrap(x) == bootstrap(x)
    assert bootstrap(x) != bootstrap(x, seed=1)
    # what other code draws does not matter
    torch.manual_seed(3)
    assert bootstrap(x) == bootstrap(x)


def test_a_statistic_gets_as_many_resamples_as_asked_for_in_whatever_parts(monkeypatch):
    shapes = []

    def first(rows):
        shapes.append(tuple(rows.shape))
        return torch.stack([rows.double().mean(dim=1), rows.double().amax(dim=1)], dim=1)

    whole = bootstrap_of(first, [4.5, 9.0], 10, resamples=100)
    assert shapes == [(100, 10)]
    assert whole[0].low < 4.5 < whole[0].high
    assert whole[1].high == 9
    monkeypatch.setattr("manyviews.evaluation.intervals._CELLS", 300)
    bootstrap_of(first, [4.5, 9.0], 10, resamples=100)
    assert shapes[1:] == [(30, 10), (30, 10), (30, 10), (10, 10)]


def test_the_interval_over_draws_is_students():
    values = [0.5, 0.55, 0.62, 0.48, 0.51]
    found = over_draws(values)
    x = torch.tensor(values, dtype=torch.float64)
    low, high = t.interval(0.95, 4, loc=float(x.mean()), scale=float(x.std()) / 5**0.5)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-5)
    assert over_draws([0.9, 1.0]).high == 1.0


@pytest.mark.parametrize("freedom", [1, 2, 4, 10, 11, 20, 100])
def test_student_is_scipys(freedom):
    assert student(freedom) == pytest.approx(t.ppf(0.975, freedom), abs=2e-4)


@pytest.mark.parametrize("wins", [0, 4, 5, 6, 7, 14, 15, 16, 17, 330, 370, 2000])
def test_one_draw_is_told_apart_as_the_exact_sign_test_does(wins):
    losses = {2000: 1800}.get(wins, 300 if wins > 300 else 5 if wins > 7 else 0)
    one = "1" * wins + "0" * losses + "1" * 40 + "0" * 9
    other = "0" * wins + "1" * losses + "1" * 40 + "0" * 9
    expected = bool(wins) and binomtest(wins, wins + losses).pvalue <= 0.05
    assert apart([one], [other]) == apart([other], [one]) == expected


def test_what_is_told_apart_after_several_draws_is_so_on_other_images_and_other_draws():
    random = torch.Generator().manual_seed(0)

    def drawn(shares):
        rows = torch.rand(len(shares), 400, generator=random) < torch.tensor(shares)[:, None]
        return ["".join("01"[one] for one in row.int().tolist()) for row in rows]

    weak = drawn([0.5] * 5)
    assert apart(weak, drawn([0.7] * 5))
    assert not apart(weak, drawn([0.51] * 5))
    # as much better on average, by the luck of two draws
    assert not apart(weak, drawn([1.0, 0.98, 0.5, 0.5, 0.5]))
    assert not apart(weak, weak)
