import pytest
import torch
from sklearn.linear_model import LogisticRegression

from manyviews.core import UsageError
from manyviews.evaluation.linear import standardiser
from manyviews.evaluation.lowshot import DECAY, lowshot_protocol, subset


def data(counts, *, seed, d=12, spread=1.0):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    y = y[torch.randperm(len(y), generator=g)]
    return torch.eye(len(counts), d)[y] + spread * torch.randn(len(y), d, generator=g), y


def test_more_labels_are_better_and_each_has_a_name():
    result = lowshot_protocol(*data([400] * 4, seed=1), *data([100] * 4, seed=2))
    assert list(result.measures) == [
        "accuracy at 10 per class",
        *[f"accuracy at {k} per class" for k in (1, 5, 20, 50, 100)],
        "accuracy at 1 %",
        "accuracy at 10 %",
    ]
    values = [result.measures[f"accuracy at {k} per class"].value for k in (1, 10, 100)]
    assert values[0] + 0.05 < values[1] < values[2] - 0.05
    # 1 % of 400 is 4, and 10 % is 40 of each class
    assert values[0] < result.measures["accuracy at 1 %"].value < values[2]
    assert result.settings["draws"] == 5
    assert result.notes == ()


def test_a_draw_is_what_sklearn_makes_of_the_same_examples():
    (x, y), (q, z) = data([40] * 3, seed=1), data([200] * 3, seed=2)
    result = lowshot_protocol(x, y, q, z, shots=[5], shares=[], draws=3)
    mean, scale = standardiser(x)
    x, q = (x - mean) * scale, (q - mean) * scale
    found = []
    for draw in range(3):
        rows = subset(y, torch.full((3,), 5), seed=draw)
        model = LogisticRegression(C=1 / (DECAY / 5 * 15), tol=1e-8, max_iter=1000)
        found.append(model.fit(x[rows].double().numpy(), y[rows]).score(q.double().numpy(), z))
    assert result.value == pytest.approx(sum(found) / 3, abs=3e-3)
    assert len(set(found)) == 3
    assert result.interval[0] < min(found)
    assert result.interval[1] > max(found)


def test_with_fewer_examples_than_features_the_fit_is_the_same():
    (x, y), (q, z) = (
        data([30] * 3, seed=1, d=60, spread=0.4),
        data([60] * 3, seed=2, d=60, spread=0.4),
    )
    rows = subset(y, torch.full((3,), 4), seed=0)
    narrow = lowshot_protocol(x, y, q, z, shots=[4], shares=[], draws=2)
    mean, scale = standardiser(x)
    model = LogisticRegression(C=1 / (DECAY / 4 * 12), tol=1e-8, max_iter=2000)
    model.fit(((x - mean) * scale)[rows].double().numpy(), y[rows])
    first = model.score(((q - mean) * scale).double().numpy(), z)
    rows = subset(y, torch.full((3,), 4), seed=1)
    model.fit(((x - mean) * scale)[rows].double().numpy(), y[rows])
    second = model.score(((q - mean) * scale).double().numpy(), z)
    assert narrow.value == pytest.approx((first + second) / 2, abs=0.012)


def test_a_subset_takes_so_many_of_each_class_anew_for_each_seed():
    _, y = data([9, 4, 0, 7], seed=3)
    take = torch.tensor([5, 4, 0, 2])
    rows = subset(y, take, seed=0)
    assert torch.bincount(y[rows], minlength=4).tolist() == take.tolist()
    assert len(set(rows.tolist())) == len(rows)
    assert rows.tolist() == subset(y, take, seed=0).tolist()
    assert rows.tolist() != subset(y, take, seed=1).tolist()
    assert set(subset(y, take - 2 * (take > 2), seed=0).tolist()) < set(rows.tolist())


def test_what_the_data_does_not_allow_is_left_out_with_a_note():
    (x, y), test = data([60, 8, 60], seed=1), data([20] * 3, seed=2)
    result = lowshot_protocol(x, y, *test)
    assert list(result.measures) == [
        "accuracy at 1 per class",
        "accuracy at 5 per class",
        "accuracy at 10 %",
    ]
    assert result.notes == (
        "Left out: 10, 20, 50, 100 per class; class number 1, counted from 0 in sorted order, has "
        "8 training examples.",
        "Left out: 1 % of 128 training labels, less than one for each of 3 classes.",
    )
    assert "10 per class" not in result.metric


def test_a_class_with_one_image_leaves_one_shot():
    (x, y), test = data([50, 1, 50], seed=1), data([20] * 3, seed=2)
    result = lowshot_protocol(x, y, *test, shots=[1, 5], shares=[])
    assert list(result.measures) == ["accuracy at 1 per class"]
    assert (
        "class number 1, counted from 0 in sorted order, has 1 training example." in result.notes[0]
    )


def test_draws_that_are_all_the_same_are_none():
    (x, y), test = data([5] * 3, seed=1), data([20] * 3, seed=2)
    result = lowshot_protocol(x, y, *test, shots=[1, 5], shares=[])
    assert list(result.measures) == ["accuracy at 1 per class"]
    assert "5 per class, which is all training labels" in result.notes[0]


def test_class_numbers_may_have_gaps():
    (x, y), (q, z) = data([30] * 3, seed=1), data([20] * 3, seed=2)
    plain = lowshot_protocol(x, y, q, z, shots=[5], shares=[0.2])
    gaps = lowshot_protocol(x, 3 * y, q, 3 * z, shots=[5], shares=[0.2])
    assert gaps.measures == plain.measures


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"draws": 1}, "draws 1"),
        ({"shots": [0]}, r"\[0\]"),
        ({"shares": [10]}, r"\[10\]"),
        ({"shots": [50], "shares": []}, "nothing to measure. Left out: 50"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(change, word):
    train, test = data([20] * 3, seed=1), data([20] * 3, seed=2)
    with pytest.raises(UsageError, match=word) as caught:
        lowshot_protocol(*train, *test, **change)
    assert "\n" not in str(caught.value)


def test_standardising_needs_all_training_features_but_no_label():
    (x, y), (q, z) = data([40] * 3, seed=1), data([40] * 3, seed=2)
    odd = x * torch.logspace(-1, 1, 12) + 5
    again = lowshot_protocol(odd, y, q * torch.logspace(-1, 1, 12) + 5, z, shots=[5], shares=[])
    plain = lowshot_protocol(x, y, q, z, shots=[5], shares=[])
    assert again.value == pytest.approx(plain.value, abs=0.02)
