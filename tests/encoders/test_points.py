"""PointNet++ against loops in float64, and the grid of voxels against a loop over points."""

import math

import pytest
import torch
from torch import nn

from manyviews import encoders
from manyviews.core import Hide, Unsupported, UsageError
from manyviews.core.inputs import Points
from manyviews.encoders.points import PointNet, PointNetConfig, carry, farthest, in_ball
from manyviews.encoders.voxels import Voxels, VoxelsConfig, cells

B, N = 2, 40
INPUT = Points(count=N, normals=True)
SMALL = {"centres": (16, 6), "radii": (0.5, 1.0), "neighbours": (4, 5), "width": 4, "up_width": 8}
CASES = {
    "pooled": lambda: PointNet(PointNetConfig(input=INPUT, **SMALL)),
    "half": lambda: PointNet(PointNetConfig(input=INPUT, **SMALL, up=1)),
    "back": lambda: PointNet(PointNetConfig(input=INPUT, **SMALL, up=2)),
    "voxels": lambda: Voxels(VoxelsConfig(input=INPUT, side=8, cell=0.3, width=4, depth=2)),
}


def clouds(seed=0, count=N, dtype=torch.float32, batch=B):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, count, 6, generator=g, dtype=torch.float64)
    return (x / x[..., :3].norm(dim=2).amax(dim=1)[:, None, None]).to(dtype)


def distance(a, b):
    return math.sqrt(sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True)))


def slow_farthest(xyz, count):
    chosen = [0]
    while len(chosen) < count:
        away = [min(distance(p, xyz[c]) for c in chosen) for p in xyz]
        chosen.append(max(range(len(xyz)), key=lambda i: (away[i], -i)))
    return chosen


def slow_ball(xyz, middle, radius, most):
    away = [distance(p, middle) for p in xyz]
    inside = [i for i, d in enumerate(away) if d < radius][:most]
    inside = inside or [min(range(len(xyz)), key=lambda i: away[i])]
    return inside + [inside[0]] * (most - len(inside))


def slow_carry(to, places, features):
    out = []
    for p in to:
        near = sorted(range(len(places)), key=lambda i: distance(p, places[i]))[:3]
        weight = [1 / (distance(p, places[i]) + 1e-8) for i in near]
        out.append(sum(w * features[i] for w, i in zip(weight, near, strict=True)) / sum(weight))
    return torch.stack(out)


def test_farthest_points_are_those_of_a_loop():
    xyz = clouds(dtype=torch.float64)[..., :3]
    found = farthest(xyz, 17)
    assert found.tolist() == [slow_farthest(one, 17) for one in xyz]


def test_no_point_near_the_origin_is_passed_over():
    xyz = 1e-3 * clouds(dtype=torch.float64)[..., :3]  # within 3 cm, all of them
    assert len(set(farthest(xyz, N)[0].tolist())) == N


@pytest.mark.parametrize("radius", [0.05, 0.4, 3.0])
def test_balls_hold_what_a_loop_finds(radius):
    xyz = clouds(1, dtype=torch.float64)[..., :3]
    middle = clouds(2, 7, dtype=torch.float64)[..., :3]
    found = in_ball(xyz, middle, radius=radius, most=6)
    for b in range(B):
        assert found[b].tolist() == [slow_ball(xyz[b], m, radius, 6) for m in middle[b]]


def test_a_point_at_exactly_the_radius_is_outside():
    xyz = torch.tensor([[[2.0, 0, 0], [1.0, 0, 0], [0.5, 0, 0]]])
    assert in_ball(xyz, torch.zeros(1, 1, 3), radius=1.0, most=2).tolist() == [[[2, 2]]]


def test_features_are_carried_as_by_a_loop():
    to, places = clouds(3, dtype=torch.float64)[..., :3], clouds(4, 5, dtype=torch.float64)
    found = carry(to, places[..., :3], places)
    for b in range(B):
        expected = slow_carry(to[b], places[b, :, :3], places[b])
        torch.testing.assert_close(found[b], expected, rtol=1e-12, atol=1e-12)
    two = carry(to, places[:, :2, :3], places[:, :2])
    assert two.shape == (B, N, 6)


def slow_network(encoder, x):
    """One cloud through the network, point by point in float64; norms in eval mode."""
    config = encoder.config
    places, found = [x[:, :3]], [x[:, 3:]]
    levels = zip(encoder.down, config.centres, config.radii, config.neighbours, strict=True)
    for layers, count, radius, most in levels:
        xyz, before = places[-1], found[-1]
        middle = xyz[slow_farthest(xyz, count)]
        made = []
        for m in middle:
            near = slow_ball(xyz, m, radius, most)
            held = torch.stack([torch.cat([(xyz[i] - m) / radius, before[i]]) for i in near])
            made.append(layers(held.T[None, :, None]).flatten(0, 2).amax(dim=1))
        places.append(middle)
        found.append(torch.stack(made))
    last = found[-1]
    for k, layers in enumerate(encoder.back):
        level = len(places) - 2 - k
        carried = slow_carry(places[level], places[level + 1], last)
        last = layers(torch.cat([carried, found[level]], dim=1).T[None])[0].T
    return last


@pytest.mark.parametrize("name", ["pooled", "half", "back"])
def test_the_network_is_a_loop_over_points(name):
    torch.manual_seed(0)
    encoder = CASES[name]()
    encoder(clouds(5, batch=4))  # running statistics that are not 0 and 1
    encoder = encoder.double().eval()
    x = clouds(6, dtype=torch.float64)
    features = encoder(x)
    for b in range(B):
        expected = slow_network(encoder, x[b])
        # places are float32 in the network
        torch.testing.assert_close(features.tokens[b], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(features.pooled[b], expected.amax(0), rtol=1e-4, atol=1e-5)


def test_cells_hold_what_a_loop_over_points_puts_there():
    x = clouds(7, dtype=torch.float64)
    x[..., :3] *= 1.5  # some beyond the edge
    number, filled = cells(x, side=4, cell=0.5)
    for b in range(B):
        xyz = x[b, :, :3]
        middle = (xyz.max(dim=0).values + xyz.min(dim=0).values) / 2
        held = {}
        for i in range(N):
            place = [float((xyz[i, k] - middle[k]) / 0.5 + 2) for k in range(3)]
            at = tuple(min(3, max(0, math.floor(p))) for p in place)
            assert number[b, i] == at[0] * 16 + at[1] * 4 + at[2]
            offset = [p - c - 0.5 for p, c in zip(place, at, strict=True)]
            held.setdefault(at, []).append([*offset, *x[b, i, 3:].tolist()])
        expected = torch.zeros(7, 4, 4, 4)
        for at, rows in held.items():
            expected[(slice(None), *at)] = torch.tensor([1.0, *torch.tensor(rows).mean(dim=0)])
        torch.testing.assert_close(filled[b], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_features_have_the_shapes_that_the_encoder_says(name):
    encoder = CASES[name]()
    features = encoder(clouds())
    tokens = {"pooled": 6, "half": 16, "back": N, "voxels": N}[name]
    assert encoder.grid == (tokens,)
    assert features.pooled.shape == (B, encoder.dim)
    assert features.tokens.shape == (B, tokens, encoder.dim)
    assert torch.equal(features.pooled, features.tokens.amax(dim=1))


@pytest.mark.parametrize("name", CASES)
def test_every_parameter_of_an_encoder_of_points_gets_a_gradient(name):
    torch.manual_seed(0)
    encoder = CASES[name]()
    encoder(clouds(batch=4)).tokens.square().sum().backward()
    for key, p in encoder.named_parameters():
        assert p.grad is not None, key
        assert p.grad.abs().sum() > 0 or key.startswith("up."), key
    deep = [id(p) for layer in encoder.by_depth() for p in layer]
    assert sorted(deep) == sorted(id(p) for p in encoder.parameters())


@pytest.mark.parametrize("name", ["pooled", "back"])
def test_the_order_of_points_beyond_the_first_matters_to_no_pooled_feature(name):
    """With balls that hold no more than are looked at, a cloud is a set."""
    torch.manual_seed(0)
    more = {"neighbours": (N, 16)}
    config = PointNetConfig(input=INPUT, **SMALL | more, up=2 if name == "back" else 0)
    encoder = PointNet(config).eval()
    x = clouds(8)
    order = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(N - 1)])
    torch.testing.assert_close(encoder(x).pooled, encoder(x[:, order]).pooled)


def test_voxels_do_not_know_where_the_cloud_is():
    encoder = CASES["voxels"]().eval()
    x = clouds(9)
    moved = x + torch.tensor([4.0, -8.0, 2.0, 0, 0, 0])
    torch.testing.assert_close(encoder(moved).pooled, encoder(x).pooled, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_tokens_of_points_cannot_be_kept_or_hidden(name):
    hide = Hide(torch.zeros(B, 6, dtype=torch.bool), torch.zeros(64))
    for ask in ({"keep": torch.zeros(B, 1, dtype=torch.int64)}, {"hide": hide}, {"blocks": 1}):
        with pytest.raises(Unsupported, match="no tokens to keep"):
            CASES[name]()(clouds(), **ask)


def test_votenets_sizes_are_depthcontrasts():
    """facebookresearch/DepthContrast models/trunks/pointnet.py; colours are not fed."""
    rooms = PointNetConfig(
        input=Points(count=20000, unit=False),
        centres=(2048, 1024, 512, 256),
        radii=(0.2, 0.4, 0.8, 1.2),
        neighbours=(64, 32, 16, 16),
        width=64,
        up=2,
        up_width=512,
    )
    with torch.device("meta"):
        encoder = PointNet(rooms)
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv1d | nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [
        *((3, 64), (64, 64), (64, 128)),
        *((131, 128), (128, 128), (128, 256)),
        *((259, 128), (128, 128), (128, 256)),
        *((259, 128), (128, 128), (128, 256)),
        *((512, 512), (512, 512)),
        *((768, 512), (512, 512)),
    ]
    assert encoder.grid == (1024,)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"centres": (64,)}, r"radii is 0.15 0.3 0.6; wanted a number for each of 1"),
        ({"centres": (256, 300, 16)}, "centres is .*; wanted fewer at each level, from 1024 on"),
        ({"up": 4}, "up is 4; wanted at most 3"),
        ({"radii": (0.1, 0.0, 0.3)}, "wanted a number above 0"),
    ],
)
def test_levels_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        encoders.build(PointNetConfig(**settings))
    with pytest.raises(UsageError, match=r"side is 30; wanted a multiple of 4"):
        encoders.build(VoxelsConfig(side=30))
