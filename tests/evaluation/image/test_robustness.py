import numpy as np
import pytest
import torch

from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.sample import Unreadable
from manyviews.data.sources import Stored
from manyviews.evaluation.features import extract
from manyviews.evaluation.image.robustness import _mean, _measures, _ratio, robustness
from manyviews.evaluation.labelled import Labelled
from manyviews.evaluation.result import wilson
from manyviews.views.by_input import plain_of
from manyviews.views.image.plain import Plain

FED = Pixels(side=28, channels=1, mean=(0.5,), std=(0.25,))
PLAIN = Plain(FED)


def stripes(count, seed, *, kind=Stored):
    """Fine stripes, lying or standing, of any phase, some of them hardly to be seen."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = np.empty((count, 28, 28, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        grain = rng.normal(0, 3, (28, 28))
        wave = 128 + rng.uniform(1, 12) * np.sin(np.arange(28) * np.pi / 2 + rng.uniform(0, 6))
        image[..., 0] = (wave[:, None] if label == 0 else wave) + grain
    return Labelled(kind("s", images), torch.from_numpy(labels), ("lying", "standing"), "given")


def edges(x):
    """[B, 3]: how much goes on across and down, and the mean: blur kills the first two."""
    across, down = x.diff(dim=3).abs().mean((1, 2, 3)), x.diff(dim=2).abs().mean((1, 2, 3))
    return torch.stack([across, down, torch.ones_like(down)], dim=1)


def clean(part):
    return extract(edges, part.source, plain_of(FED)).features, part.labels


def measure(test=None, **changes):
    train = stripes(60, 1)
    settings = {"corruptions": ("contrast", "brightness"), "severities": (1, 5)} | changes
    return robustness(edges, *clean(train), test or stripes(50, 2), input=FED, **settings)


@pytest.mark.parametrize("probe", ["knn", "linear"])
def test_measures_are_those_of_each_corrupted_image(probe):
    from manyviews.evaluation.image.corruptions import corrupt
    from manyviews.evaluation.knn import knn
    from manyviews.evaluation.linear import linear_probe

    names, severities = ("gaussian_noise", "snow"), (2, 5)
    test = stripes(50, 2)
    found = measure(test, corruptions=names, severities=severities, probe=probe, limit=20, seed=4)
    x, y = clean(stripes(60, 1))
    rows = [i * 50 // 20 for i in range(20)]

    def right(images):
        features = edges(PLAIN(images))
        if probe == "knn":
            predicted = knn(x, y, features, k=20, temperature=0.07)
        else:
            predicted, _ = linear_probe(x, y, features, seed=4)
        return (predicted == test.labels[rows]).float().mean().item()

    shares = {
        name: [
            right([corrupt(test.source.read(i), name, s, seed=4, index=i) for i in rows])
            for s in severities
        ]
        for name in names
    }
    assert found.n == 20
    assert found.metric == "corrupted_accuracy"
    for name in names:
        assert found.measures[name].value == pytest.approx(np.mean(shares[name]))
    assert found.value == pytest.approx(np.mean(list(shares.values())))
    assert found.measures["clean_accuracy"].value == pytest.approx(
        right([test.source.read(i) for i in rows])
    )


def test_what_the_features_rest_on_is_what_hurts():
    found = measure(
        corruptions=("brightness", "gaussian_noise"), severities=(5,), probe="linear", seed=1
    )
    assert found.measures["brightness"].value > 0.9
    assert found.measures["gaussian_noise"].value < 0.8
    assert list(found.measures)[:2] == ["corrupted_accuracy", "clean_accuracy"]


def test_the_error_ratio_is_corrupted_over_clean_error():
    found = measure(corruptions=("motion_blur",), severities=(5,))
    errors = 1 - found.measures["clean_accuracy"].value, 1 - found.value
    assert 0 < errors[0] < errors[1] - 0.1
    assert found.measures["error_ratio"].value == pytest.approx(errors[1] / errors[0])


def test_without_clean_errors_there_is_no_ratio():
    right = torch.ones(4, dtype=torch.bool)
    assert "error_ratio" not in _measures(right, torch.stack([~right]), ("fog",), 1)


def test_the_result_repeats_and_progress_ends():
    calls = []
    one = measure(progress=lambda *c: calls.append(c), batch_size=20)
    two = measure(workers=1)
    assert one.measures == two.measures
    assert calls[-1] == (250, 250)
    assert [c[0] for c in calls] == sorted(c[0] for c in calls)
    assert (one.train, one.classes, one.protocol) == (60, 2, "robustness")


class Torn(Stored):
    def read(self, index):
        if index == 3:
            raise Unreadable("3.jpg", "truncated")
        return super().read(index)


def test_an_unreadable_image_is_left_out_everywhere():
    assert measure(stripes(50, 2, kind=Torn)).n == 49


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"corruptions": ("frost",)}, "procedural_frost"),
        ({"corruptions": ()}, "corruption none"),
        ({"corruptions": ("fog", "fog")}, "fog, fog"),
        ({"severities": (0,)}, "severity 0"),
        ({"limit": -1}, "limit -1"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        measure(**changes)


def test_an_interval_of_yes_and_no_is_wilsons():
    values = torch.tensor([1.0] * 30 + [0.0] * 10, dtype=torch.float64)
    found = _mean(values)
    assert (found.low, found.high) == pytest.approx(wilson(30, 40))
    assert (_mean(torch.ones(40)).low, _mean(torch.ones(40)).high) == pytest.approx(wilson(40, 40))


def test_intervals_hold_the_truth_19_times_of_20():
    rng = np.random.default_rng(0)
    held = {"mean": 0, "ratio": 0}
    for _ in range(400):
        easy = rng.beta(2, 1, 200)  # each image's chance to be right when clean
        spoilt = torch.from_numpy(rng.binomial(10, easy * 0.6, 200) / 10)
        right = torch.from_numpy((rng.random(200) < easy).astype(float))
        mean, ratio = _mean(spoilt), _ratio(1 - spoilt, 1 - right)
        held["mean"] += mean.low <= 0.4 <= mean.high
        held["ratio"] += ratio.low <= 0.6 / (1 / 3) <= ratio.high
    assert 365 <= held["mean"] <= 396
    assert 365 <= held["ratio"] <= 396
