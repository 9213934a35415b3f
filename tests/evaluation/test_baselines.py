"""What samples give without an encoder."""

import pytest
import torch
from torch.testing import assert_close

from manyviews.core.inputs import Frames, LogMel, Pixels, Points
from manyviews.evaluation.baselines import NUMBERS, centred, floors, standard


def test_images_are_their_pixels_few_enough_to_compare():
    found = floors(Pixels(side=224))
    assert list(found) == ["raw pixels", "centred pixels"]
    raw, less = found.values()
    side = raw.input.side
    assert 3 * side**2 <= NUMBERS < 3 * (side + 1) ** 2
    x = torch.rand(2, *raw.input.shape)
    fed = (x - torch.tensor(raw.input.mean).view(3, 1, 1)) / torch.tensor(raw.input.std).view(
        3, 1, 1
    )
    assert_close(raw.embed(fed), x.flatten(1))
    train = torch.rand(9, 4) + 3
    assert_close(less.scale(train)(train).mean(0), torch.zeros(4), atol=1e-6, rtol=0)
    assert raw.scale(train)(train) is train
    assert floors(Pixels(side=8))["raw pixels"].input.side == 8


def test_a_clip_is_its_small_frames_and_how_they_change():
    input = Frames(side=64, frames=4, rate=4.0)
    clip, change = floors(input).values()
    assert clip.input.side == 18  # 3 * 4 * 18 ** 2 are 3,888 of 4,096
    assert (clip.input.frames, clip.input.rate) == (4, 4.0)
    x = torch.rand(2, *change.input.shape)
    steps = (x[:, :, 1:] - x[:, :, :-1]).abs().mean(2)
    std = torch.tensor(input.std).view(3, 1, 1)
    assert_close(change.embed(x), (steps * std).flatten(1))
    still = x[:, :, :1].expand_as(x)
    assert change.embed(still).abs().max() == 0
    assert clip.embed(torch.zeros(2, *clip.input.shape)).shape == (2, 3888)
    assert list(floors(Frames(side=64, frames=1))) == ["raw clip"]


def test_a_sound_is_the_mean_and_the_deviation_of_its_bands():
    input = LogMel(seconds=0.2, bins=16)
    [floor] = floors(input).values()
    loud = torch.randn(3, *input.shape)
    found = floor.embed(loud)
    power = loud[:, 0] * input.std + input.mean
    assert_close(found, torch.cat([power.mean(1), power.std(1, correction=0)], 1))
    later = floor.embed(loud.roll(5, dims=2))
    assert_close(later, found)  # when it sounds is not in it
    train = torch.randn(50, 32) * torch.logspace(-3, 3, 32) + 5
    scaled = floor.scale(train)(train)
    assert_close(scaled.mean(0), torch.zeros(32), atol=1e-3, rtol=0)
    assert_close(scaled.std(0, correction=0), torch.ones(32))


@pytest.mark.parametrize("columns", [3, 6])
def test_a_cloud_is_how_far_apart_its_points_are(columns):
    input = Points(count=300, colour=columns == 6)
    [floor] = floors(input).values()
    cloud = torch.randn(2, 300, columns)
    found = floor.embed(cloud)
    assert_close(found.square().sum(1), torch.ones(2))
    angle = torch.tensor(0.7)
    turn = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0], [0, 0, 1]])
    turned = cloud.clone()
    turned[:, :, :3] = 5 * cloud[:, :, :3] @ turn.T + 2
    both = floor.embed(torch.cat([turned, cloud]))  # each by its own size
    assert_close(both[2:], found)
    apart = (both[:2].square() - found.square()).abs()
    assert apart.sum(1).max() < 1e-3  # neither place, turn nor size; but for edges of bins
    two = torch.zeros(1, 300, columns)
    two[:, ::2, 0] = 1
    halves = floor.embed(two).square()
    assert_close(halves[0, [0, -1]], torch.tensor([0.5, 0.5]))
    assert floor.embed(torch.zeros(1, 300, columns)).isfinite().all()


def test_numbers_that_never_change_do_no_harm():
    train = torch.full((5, 3), 2.0)
    for scale in (centred, standard):
        assert_close(scale(train)(train), torch.zeros(5, 3))
