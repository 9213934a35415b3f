import math

import numpy as np
import pytest
import torch
from scipy.linalg import eigh

from manyviews.core import UsageError
from manyviews.diagnosis.lidar import lidar


def grouped(n, q, d):
    """[n, q, d] float64, the same on every machine."""
    noise = torch.sin(torch.arange(n * q * d, dtype=torch.float64) ** 1.5).view(n, q, d)
    means = torch.sin(torch.arange(n * d, dtype=torch.float64) ** 1.3).view(n, 1, d)
    return 0.3 * noise + means / torch.arange(1, d + 1)


def transcribed(views, delta):
    """The definition, image by image, through the generalised eigenvalues of (B, W)."""
    x = views.double().numpy()
    n, _, d = x.shape
    means = x.mean(axis=1)
    between = np.cov(means, rowvar=False)
    within = sum(np.cov(image, rowvar=False) for image in x) / n + delta * np.eye(d)
    values = eigh(between, within, eigvals_only=True)
    p = values[values > 1e-12] / values[values > 1e-12].sum()
    return math.exp(-(p * np.log(p)).sum())


def even_noise(means, widths):
    """Views at +- widths along the axes around means [N, D]: a diagonal covariance, exactly."""
    steps = torch.diag(torch.tensor(widths, dtype=torch.float64))
    return means[:, None] + torch.cat([steps, -steps])


def spread(variances, n=300):
    """[n, D] with mean 0 and exactly this diagonal covariance."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, len(variances), generator=g, dtype=torch.float64)
    x = torch.linalg.qr(x - x.mean(dim=0)).Q * math.sqrt(n - 1)
    return x * torch.tensor(variances, dtype=torch.float64).sqrt()


@pytest.mark.parametrize(("n", "q", "d"), [(50, 4, 8), (20, 10, 3), (12, 3, 30), (300, 2, 6)])
@pytest.mark.parametrize("delta", [1e-4, 0.1])
def test_it_is_the_entropy_of_the_generalised_eigenvalues(n, q, d, delta):
    views = grouped(n, q, d)
    assert lidar(views, delta=delta) == pytest.approx(transcribed(views, delta), rel=1e-8)


@pytest.mark.parametrize(("d", "theirs"), [(7, 3.8828775984551083), (40, 6.923442283381843)])
def test_it_is_the_number_of_another_library(d, theirs):
    # galilai-group/stable-pretraining at d15ec96, callbacks/lidar.py, _compute_lidar with
    # n_classes=24, samples_per_class=5, delta=1e-4, epsilon=1e-12, in float64
    assert lidar(grouped(24, 5, d)) == pytest.approx(theirs, rel=1e-7)


def test_directions_count_by_how_far_they_separate_images_against_noise():
    variances, widths, delta = [9.0, 4.0, 1.0, 0.5], [1.0, 2.0, 0.1, 0.0], 1e-2
    within = [2 * w**2 / (2 * len(widths) - 1) + delta for w in widths]
    ratios = np.array(variances) / np.array(within)
    p = ratios / ratios.sum()
    views = even_noise(spread(variances), widths)
    assert lidar(views, delta=delta) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-9)


def test_even_directions_are_counted_and_noisy_ones_are_not():
    assert lidar(even_noise(spread([1.0] * 6), [0.1] * 6)) == pytest.approx(6)
    half = even_noise(spread([1.0] * 6), [0.01] * 3 + [10.0] * 3)
    assert lidar(half) == pytest.approx(3, abs=0.01)


def test_views_of_one_image_must_lie_together():
    views = even_noise(spread([1.0] * 6), [0.01] * 3 + [10.0] * 3)
    order = torch.randperm(views.shape[0] * views.shape[1], generator=torch.manual_seed(0))
    assert lidar(views) == pytest.approx(3, abs=0.01)
    assert lidar(views.flatten(0, 1)[order].view(views.shape)) > 5  # all directions look alike


def test_many_images_are_summed_in_parts():
    views = grouped(700, 3, 4)
    assert lidar(views) == pytest.approx(transcribed(views, 1e-4), rel=1e-8)


def test_a_collapsed_network_separates_nothing():
    assert lidar(torch.ones(10, 3, 5)) == 0.0
    assert lidar(torch.randn(10, 3, 1).expand(10, 3, 5)) == pytest.approx(1)


def test_eps_is_added_to_every_share():
    views = even_noise(spread([1.0] * 4), [0.1] * 4)
    p = torch.full((4,), 0.25 + 0.01, dtype=torch.float64)
    assert lidar(views, eps=0.01) == pytest.approx(float(torch.special.entr(p).sum().exp()))


@pytest.mark.parametrize(
    ("views", "delta", "word"),
    [
        (torch.ones(4, 3), 1e-4, "[N, Q, D]"),
        (torch.ones(1, 3, 2), 1e-4, "two or more samples"),
        (torch.ones(3, 1, 2), 1e-4, "two or more views"),
        (torch.ones(0, 2, 2), 1e-4, "two or more samples"),
        (torch.full((3, 2, 2), math.nan), 1e-4, "diverged"),
        (torch.ones(3, 2, 2), 0.0, "singular"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(views, delta, word):
    with pytest.raises(UsageError) as caught:
        lidar(views, delta=delta)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
