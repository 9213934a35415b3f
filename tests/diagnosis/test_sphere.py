import math

import pytest
import torch
import torch.nn.functional as F
from scipy.special import ive

from manyviews.core import UsageError
from manyviews.diagnosis.checkup import RollingRank, spread
from manyviews.diagnosis.neighbours import twonn, view_consistency
from manyviews.diagnosis.rank import effective_rank
from manyviews.diagnosis.uniformity import alignment, feature_std, mean_cosine, uniformity


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_alignment_is_the_mean_squared_distance_on_the_sphere():
    a, b = randn(20, 5), randn(20, 5, seed=1)
    expected = (2 - 2 * F.cosine_similarity(a, b, dim=1)).mean()
    assert alignment(a, b) == pytest.approx(float(expected), abs=1e-6)
    assert alignment(a, 3 * a) == pytest.approx(0, abs=1e-6)
    assert alignment(a, -a) == pytest.approx(4)


def test_uniformity_of_a_few_points_is_its_formula():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    expected = math.log((math.exp(-4) + math.exp(-8) + math.exp(-4)) / 3)
    assert uniformity(x) == pytest.approx(expected)
    assert uniformity(torch.ones(5, 3)) == pytest.approx(0, abs=1e-6)


def test_uniformity_of_a_uniform_circle_is_its_integral():
    # the mean of exp(-2 (2 - 2 cos a)) over the circle is exp(-4) I0(4)
    angle = 2 * math.pi * torch.rand(3000, generator=torch.Generator().manual_seed(0))
    x = torch.stack([angle.cos(), angle.sin()], dim=1)
    assert uniformity(x) == pytest.approx(math.log(ive(0, 4.0)), abs=0.01)


@pytest.mark.parametrize("chunk", [1, 7, 50, 1000])
def test_chunks_change_nothing(chunk):
    a, b = randn(50, 6), randn(50, 6) + 0.5 * randn(50, 6, seed=1)
    assert uniformity(a, chunk=chunk) == pytest.approx(uniformity(a))
    assert view_consistency(a, b, chunk=chunk) == pytest.approx(view_consistency(a, b))
    assert twonn(a, chunk=chunk) == pytest.approx(twonn(a))


def test_the_standard_deviation_is_1_for_isotropic_and_0_for_equal_features():
    assert feature_std(randn(2000, 64)) == pytest.approx(1, abs=0.02)
    assert feature_std(torch.ones(10, 4)) == pytest.approx(0, abs=1e-6)
    assert feature_std(randn(2000, 64) + 5) < 0.3


def test_the_mean_cosine_leaves_out_a_row_with_itself():
    x = randn(9, 4)
    z = F.normalize(x, dim=1).double()
    expected = (z @ z.T)[~torch.eye(9, dtype=torch.bool)].mean()
    assert mean_cosine(x) == pytest.approx(float(expected), abs=1e-6)


def test_a_view_finds_its_own_image():
    a = torch.eye(6)
    assert view_consistency(a, a) == 1.0
    assert view_consistency(a, a.roll(1, dims=0)) == 0.0
    swapped = a.clone()
    swapped[[0, 1]] = a[[1, 0]]
    assert view_consistency(a, swapped) == pytest.approx(4 / 6)


def test_a_collapsed_network_does_not_look_consistent():
    same = torch.ones(50, 8)
    assert view_consistency(same, same) == pytest.approx(1 / 50)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_twonn_finds_the_dimension_of_a_flat_sheet(dimension):
    x = torch.rand(1500, dimension, generator=torch.Generator().manual_seed(0))
    rotation = torch.linalg.qr(randn(20, dimension)).Q
    assert twonn(100 + 3 * x @ rotation.T) == pytest.approx(dimension, rel=0.12)


def test_twonn_is_the_authors_fit():
    x = randn(300, 6)
    distance = torch.cdist(x.double(), x.double()).sort(dim=1).values
    log_mu = (distance[:, 2] / distance[:, 1]).log().sort().values
    share = torch.arange(1, 301).double() / 300
    a, b = log_mu[:270], -(1 - share[:270]).log()
    assert twonn(x) == pytest.approx(float((a @ b) / (a @ a)), rel=1e-4)


def test_twonn_passes_over_duplicates():
    x = torch.rand(800, 2, generator=torch.Generator().manual_seed(0)) @ randn(2, 30)
    # the same but for rounding, as a network computes an image in two batches
    again = x[:200] * (1 + 1e-9 * randn(200, 30, seed=1).double())
    assert twonn(torch.cat([x.double(), again])) == pytest.approx(twonn(x), rel=0.25)
    with pytest.raises(UsageError, match="duplicates"):
        twonn(torch.ones(50, 3))


@pytest.mark.parametrize("f", [alignment, view_consistency])
def test_views_of_different_shape_are_refused(f):
    with pytest.raises(UsageError, match="same samples"):
        f(randn(4, 3), randn(5, 3))


def test_one_image_has_no_uniformity():
    with pytest.raises(UsageError, match="2 or more"):
        uniformity(torch.ones(1, 3))


def test_a_checkup_agrees_with_the_exact_functions():
    views = randn(60, 2, 10) + 0.7 * randn(60, 1, 10, seed=2) + 1
    found = {name: float(value) for name, value in spread(views).items()}
    a, b = views[:, 0], views[:, 1]
    assert found["std"] == pytest.approx(feature_std(a), rel=1e-4)
    assert found["uniformity"] == pytest.approx(uniformity(a), rel=1e-4)
    assert found["cosine"] == pytest.approx(mean_cosine(a), rel=1e-4)
    assert found["alignment"] == pytest.approx(alignment(a, b), rel=1e-4)
    apart = 2 - 2 * mean_cosine(a)
    assert found["sameness"] == pytest.approx(alignment(a, b) / apart, rel=1e-4)
    assert found["raw"] == pytest.approx(float(a.std(dim=0, correction=0).mean()), rel=1e-5)
    assert "alignment" not in spread(views[:, :1])


def test_a_rolling_rank_is_the_effective_rank_of_what_it_saw():
    x = randn(4, 64, 16) * torch.linspace(0.1, 2, 16)
    rolling = RollingRank(rows=10**9, columns=512)
    for batch in x:
        rolling.add(batch + 10)
    rolling.measure()
    centred = (x - x.mean(dim=1, keepdim=True)).flatten(0, 1)
    assert rolling.rank == pytest.approx(effective_rank(centred, centred=False), rel=1e-3)


def test_a_rolling_rank_waits_for_enough_rows_and_forgets_old_ones():
    rolling = RollingRank(rows=256, columns=512)
    rolling.add(randn(100, 32))
    rolling.measure()
    assert math.isnan(rolling.rank)
    rolling.add(randn(100, 32, seed=1))
    rolling.measure()
    assert rolling.rank > 25
    for seed in range(20):
        rolling.add(randn(128, 2, seed=seed) @ randn(2, 32))
    rolling.measure()
    assert rolling.rank < 2.5


def test_a_rolling_rank_forgets_small_batches_too():
    rolling = RollingRank(rows=10**6, columns=512, batches=8)
    for i in range(16):
        rolling.add(randn(40, 32, seed=i) if i < 8 else randn(40, 1, seed=i) @ randn(1, 32))
    rolling.measure()
    assert rolling.rank == pytest.approx(1, abs=0.01)


def test_a_rolling_rank_starts_anew_after_a_batch_that_is_not_finite():
    rolling = RollingRank(rows=2048, columns=512)
    rolling.add(torch.full((200, 4), math.nan))
    rolling.measure()
    assert math.isnan(rolling.rank)
    rolling.add(randn(500, 4))
    rolling.measure()
    assert rolling.rank == pytest.approx(4, abs=0.05)


def test_a_wide_space_is_looked_at_through_some_of_its_columns():
    rolling = RollingRank(rows=2048, columns=64)
    rolling.add(randn(300, 3) @ randn(3, 1000, seed=1))
    rolling.measure()
    assert rolling.width == 64
    assert 2 < rolling.rank < 3.01


def test_a_drifting_mean_is_no_direction():
    rolling = RollingRank(rows=10**6, columns=512)
    sheet = randn(1, 24)
    for i in range(7):
        rolling.add(randn(64, 1, seed=i) @ sheet + 100 * randn(1, 24, seed=50 + i))
    rolling.measure()
    assert rolling.rank == pytest.approx(1, abs=0.05)
