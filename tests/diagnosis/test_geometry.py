"""How far features of points follow height, on features that are made to."""

import pytest
import torch

from manyviews.diagnosis.geometry import Geometry, fell_by
from manyviews.losses.points import BANDS, height_share

torch.set_num_threads(1)


def follows_height(features, heights):
    return float(height_share(features, heights))


def clouds(b=8, n=256, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(b, n, generator=g), torch.randn(b, n, 6, generator=g)


def test_features_of_height_alone_are_explained_by_it_and_noise_is_not():
    z, noise = clouds()
    turn = torch.stack([(3 * z).cos(), (3 * z).sin()], dim=2)
    assert follows_height(turn, z) > 0.98
    assert follows_height(turn, 100 * z + 7) == pytest.approx(follows_height(turn, z))
    assert follows_height(noise, z) < 0.02
    mixed = torch.cat([turn, 0.7 * noise[..., :2]], dim=2)
    assert 0.2 < follows_height(mixed, z) < 0.8
    assert follows_height(torch.ones(2, 32, 3), z[:2, :32]) == 0


def test_it_is_one_less_the_variance_within_bands():
    z, noise = clouds(b=3, n=64)
    x = torch.nn.functional.normalize((noise + z[..., None]).double(), dim=2)
    band = z.argsort(1).argsort(1) * BANDS // 64
    within = sum(float((x[band == i] - x[band == i].mean(0)).square().sum()) for i in range(BANDS))
    whole = float((x - x.mean((0, 1))).square().sum())
    assert follows_height(noise + z[..., None], z) == pytest.approx(1 - within / whole)


def test_bands_are_of_each_cloud_and_not_of_all():
    """A cloud that lies higher as a whole is no higher."""
    z, _ = clouds(b=2)
    turn = torch.stack([(3 * z).cos(), (3 * z).sin()], dim=2)
    lifted = z + torch.tensor([[0.0], [50.0]])
    assert follows_height(turn, lifted) == pytest.approx(follows_height(turn, z))


def test_when_a_loss_has_fallen():
    assert fell_by([10, 1, 1, 1, 1, 1, 1, 1, 1, 0.9]) == 0.2
    assert fell_by([10, 9, 8, 7, 6, 5, 4, 3, 2, 1]) == 1.0
    assert fell_by([10 - i / 10 for i in range(100)]) == pytest.approx(0.9, abs=0.02)
    assert fell_by([1, 2, 3]) == fell_by([]) == fell_by([1]) == 1


@pytest.mark.parametrize(
    ("height", "untrained", "alarms"),
    [(0.7, 0.1, True), (0.7, 0.6, False), (0.4, 0.05, False), (0.95, 0.6, True)],
)
def test_an_alarm_wants_height_to_rule_and_more_than_before_training(height, untrained, alarms):
    found = Geometry(height=height, untrained=untrained, early=0.05).alarm
    assert bool(found) == alarms
    assert ("first 5% of the training" in found) == alarms
    late = Geometry(height=height, untrained=untrained, early=0.5).alarm
    assert "loss" not in late
