"""Reference arrays: data/corruptions.npz, made by running hendrycks/robustness (commit 8190fe3)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.data.sources import Stored
from manyviews.evaluation.features import extract
from manyviews.evaluation.image.corruptions import CORRUPTIONS, Corrupted, corrupt
from manyviews.evaluation.image.corruptions import image as operations
from manyviews.evaluation.image.corruptions.source import spread
from manyviews.views.image.plain import Plain
from manyviews.views.pipeline import Fed, Pipeline

AUTHORS = np.load(Path(__file__).parent / "data" / "corruptions.npz", allow_pickle=False)
THEIRS = [name for name in CORRUPTIONS if name != "procedural_frost"]
NOISES = ("gaussian_noise", "shot_noise", "impulse_noise")


def picture(side):
    """Ramps, waves, a red box and a black disk, with some noise; whole numbers throughout."""
    y, x = np.mgrid[:side, :side]
    image = np.stack(
        [
            (7 * x + 3 * y) * 256 // (10 * side),
            (x * y * 512 // side**2) % 256,
            255 - (5 * y + x) * 256 // (6 * side),
        ],
        axis=-1,
    )
    image[side // 4 : side // 2, side // 3 : 2 * side // 3] = (230, 40, 20)
    image[(x - 2 * side // 3) ** 2 + (y - 2 * side // 3) ** 2 < side * side // 36] = (0, 0, 0)
    noise = np.random.RandomState(0).randint(-9, 10, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


class Replay:
    """The random numbers that the authors' functions drew for the reference."""

    def __init__(self):
        self.old = np.random.RandomState(7)
        self.normal, self.uniform, self.poisson = (
            self.old.normal,
            self.old.uniform,
            self.old.poisson,
        )
        self.integers = self.old.randint
        self.random = np.random.default_rng(7).random


@pytest.mark.parametrize("side", [32, 224])
@pytest.mark.parametrize("name", THEIRS)
def test_images_are_those_of_the_authors_program(name, side):
    pick = slice(None, None, 2) if side == 32 else slice(7, None, 14)
    image = picture(side)
    for severity, theirs in enumerate(AUTHORS[f"{name}_{side}"], 1):
        ours = CORRUPTIONS[name](image, severity, Replay())[pick, pick]
        difference = np.abs(ours.astype(int) - theirs)
        # snow passes through ImageMagick, which cuts levels down on the way, and is added twice
        most, mean = (3, 0.9) if name == "snow" else (1, 0.6)
        assert difference.max() <= most, severity
        assert difference.mean() < mean, severity


def test_there_are_fifteen_and_the_frost_says_whose_it_is():
    assert len(CORRUPTIONS) == 15
    assert "frost" not in CORRUPTIONS
    for corruption in CORRUPTIONS.values():
        assert len(corruption.photograph) == len(corruption.thumbnail) == 5


@pytest.mark.parametrize("shape", [(28, 28, 1), (31, 45, 3), (100, 130, 3)])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_size_and_severity_works_and_repeats(name, shape):
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    kept = image.copy()
    for severity in (1, 5) if shape[0] > 50 else range(1, 6):
        made = corrupt(image, name, severity, seed=3, index=5)
        assert made.shape == shape
        assert made.dtype == np.uint8
        assert not np.array_equal(made, image)
        assert np.array_equal(made, corrupt(image, name, severity, seed=3, index=5))
    assert np.array_equal(image, kept)


@pytest.mark.parametrize(
    "name",
    [*NOISES, "glass_blur", "motion_blur", "snow", "procedural_frost", "fog", "elastic_transform"],
)
def test_random_ones_depend_on_seed_index_and_severity(name):
    image = picture(32)
    one = corrupt(image, name, 3, seed=0, index=0)
    assert not np.array_equal(one, corrupt(image, name, 3, seed=1, index=0))
    assert not np.array_equal(one, corrupt(image, name, 3, seed=0, index=1))
    assert not np.array_equal(one, corrupt(image, name, 4, seed=0, index=0))


@pytest.mark.parametrize("side", [32, 96])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_higher_severities_are_further_from_the_image(name, side):
    image = picture(side)
    away = []
    for severity in range(1, 6):
        made = [CORRUPTIONS[name](image, severity, np.random.default_rng(k)) for k in range(8)]
        away.append(float(np.mean([((m.astype(float) - image) ** 2).mean() for m in made])))
    if name in ("glass_blur", "procedural_frost", "pixelate"):
        # by the published strengths neighbouring severities may change places
        assert away[0] < away[4]
    elif name == "elastic_transform":
        # the first severities shear, which moves everything; the last ones crumple in place
        assert min(away) > 300
    else:
        assert away == sorted(away), away


@pytest.mark.parametrize("name", [n for n in CORRUPTIONS if n not in (*NOISES, "procedural_frost")])
def test_a_colour_image_of_greys_becomes_what_the_grey_image_becomes(name):
    grey = picture(32)[..., :1]
    for severity in (1, 3, 5):
        one = corrupt(grey, name, severity, seed=0)
        three = corrupt(np.repeat(grey, 3, axis=2), name, severity, seed=0)
        # luma weights add up to 1 less a rounding; JPEG goes through YCbCr
        assert np.abs(three.astype(int) - one).max() <= 1, severity


def test_noise_has_the_strength_that_it_should():
    flat = np.full((96, 96, 3), 128, np.uint8)
    for severity, sigma in enumerate((0.08, 0.12), 1):
        made = corrupt(flat, "gaussian_noise", severity, seed=0).astype(float) / 255
        assert made.std() == pytest.approx(sigma, rel=0.03)
    shot = corrupt(flat, "shot_noise", 1, seed=0).astype(float) / 255
    assert shot.var() == pytest.approx((128 / 255) / 60, rel=0.05)
    salted = corrupt(flat, "impulse_noise", 5, seed=0)
    assert (salted == 255).mean() == pytest.approx(0.27 / 2, abs=0.01)
    assert (salted == 0).mean() == pytest.approx(0.27 / 2, abs=0.01)


def test_fog_never_outshines_the_scene():
    dark = picture(32) // 2
    for severity in range(1, 6):
        assert corrupt(dark, "fog", severity, seed=0).max() <= dark.max()


def test_frost_is_as_bright_as_the_photographs_on_average():
    black = np.zeros((96, 96, 3), np.uint8)
    layers = [
        CORRUPTIONS["procedural_frost"](black, 5, np.random.default_rng(k)) / 0.75
        for k in range(30)
    ]
    red, green, blue = np.mean(layers, axis=(0, 1, 2))
    assert red < green < blue
    assert np.mean(layers) == pytest.approx(0.66 * 255, rel=0.06)
    assert np.mean([layer.mean(axis=2).std() for layer in layers]) == pytest.approx(28, rel=0.15)


@pytest.mark.parametrize("side", [1, 4, 8])
def test_frost_on_a_few_pixels_is_frost_too(side):
    black = np.zeros((side, side, 3), np.uint8)
    for k in range(20):  # on a few pixels needles may cover nothing
        assert CORRUPTIONS["procedural_frost"](black, 5, np.random.default_rng(k)).any()


def test_folding_follows_scipy():
    from scipy.ndimage import gaussian_filter, map_coordinates

    x = np.random.default_rng(0).random((9, 13, 2))
    for edge in ("nearest", "reflect", "mirror"):
        theirs = gaussian_filter(x, (4, 4, 0), mode=edge, truncate=3)
        assert np.allclose(operations.smooth(x, 4, truncate=3, edge=edge), theirs)
        rows, columns = np.random.default_rng(1).uniform(-20, 30, (2, 9, 13))
        found = operations.look_up(x, rows, columns, edge)
        wanted = map_coordinates(x[..., 0], [rows, columns], order=1, mode=edge)
        assert np.allclose(found[..., 0], wanted)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((picture(32), "frost", 1), "Did you mean procedural_frost"),
        ((picture(32), "xyzzy", 1), "There are gaussian_noise"),
        ((picture(32), "fog", 0), "no severity 0"),
        ((picture(32), "fog", 6), "no severity 6"),
        ((picture(32).astype(np.float32), "fog", 1), "float32"),
        ((picture(32)[..., :2], "fog", 1), r"\[32, 32, 2\]"),
        ((picture(32)[:8], "fog", 1), "16 pixels"),
    ],
)
def test_what_cannot_be_corrupted_is_refused_in_one_line(arguments, said):
    with pytest.raises(UsageError, match=said) as caught:
        corrupt(*arguments, seed=0)
    assert "\n" not in str(caught.value)


def spoilt(name, severity, *, seed, fed):
    corrupted = Corrupted(name=name, severity=severity)
    return Pipeline({"image": corrupted}, {"image": Fed(fed)}, seed=seed)


def test_a_corrupted_view_spoils_what_the_encoder_would_see():
    source = Stored("s", np.stack([picture(40)] * 6))
    fed = Pixels(side=32, mean=(0.5,), std=(0.2,))
    made, rows = spoilt("gaussian_noise", 2, seed=1, fed=fed), [0, 2, 4]
    view = Plain(fed).uint8([source.read(2)])[0]
    wanted = corrupt(view, "gaussian_noise", 2, seed=1, index=2)
    found = extract(lambda x: x.flatten(1), source, made, rows=rows, batch_size=2)
    again = extract(lambda x: x.flatten(1), source, made, rows=rows, batch_size=3, workers=1)
    assert found.index.tolist() == rows
    assert torch.equal(found.features, again.features)
    pixels = found.features[1].view(3, 32, 32).permute(1, 2, 0)
    assert np.allclose(pixels * 0.2 + 0.5, wanted / 255, atol=1e-6)


def test_names_severities_seeds_and_images_are_spoilt_each_in_their_own_way():
    source = Stored("s", np.stack([picture(32)] * 2))
    fed = Pixels(side=32, mean=(0.5,), std=(0.2,))
    made = {
        row.numpy().tobytes()
        for name in ("fog", "snow")
        for severity in (1, 2)
        for seed in (0, 1)
        for row in extract(
            lambda x: x.flatten(1), source, spoilt(name, severity, seed=seed, fed=fed)
        ).features
    }
    assert len(made) == 16


def test_a_spread_is_even_and_whole_where_it_can_be():
    assert list(spread(10, 4)) == [0, 2, 5, 7]
    assert list(spread(3, 0)) == list(spread(3, 9)) == [0, 1, 2]
