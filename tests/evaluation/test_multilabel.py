import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from manyviews.core import UsageError
from manyviews.evaluation.linear import standardiser
from manyviews.evaluation.multilabel import average_precision, multilabel_protocol


def data(n, *, seed, labels=4, d=10, noise=1.0):
    g = torch.Generator().manual_seed(seed)
    way = torch.randn(d, labels, generator=torch.Generator().manual_seed(0))
    x = torch.randn(n, d, generator=g)
    return 3 * x + 1, x @ way + noise * torch.randn(n, labels, generator=g) > 2


@pytest.mark.parametrize("levels", [1, 5, 1000])
def test_average_precision_is_sklearns_with_ties_and_weights(levels):
    g = torch.Generator().manual_seed(levels)
    scores = (torch.randn(90, generator=g) * levels).round()
    relevant = torch.rand(90, generator=g) < 0.3
    counts = torch.randint(0, 3, (3, 90), generator=g).float()
    [plain] = average_precision(scores, relevant)[0].tolist()
    assert plain == pytest.approx(average_precision_score(relevant, scores))
    for count, found in zip(counts, average_precision(scores, relevant, counts)[0], strict=True):
        expected = average_precision_score(relevant, scores, sample_weight=count)
        assert float(found) == pytest.approx(expected)


def voc(scores, relevant):
    """The 11-point average precision of the VOC2007 development kit, written out."""
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(relevant[order])
    recall, precision = found / relevant.sum(), found / np.arange(1, len(order) + 1)
    points = [precision[recall >= level - 1e-9] for level in np.linspace(0, 1, 11)]
    return np.mean([p.max() for p in points])


@pytest.mark.parametrize("positives", [1, 3, 10, 20])
def test_eleven_points_are_those_of_voc2007(positives):
    g = torch.Generator().manual_seed(positives)
    scores = torch.randn(60, generator=g)
    relevant = torch.zeros(60, dtype=torch.bool)
    relevant[scores.add(torch.randn(60, generator=g)).topk(positives).indices] = True
    [found] = average_precision(scores, relevant)[1].tolist()
    assert found == pytest.approx(voc(scores.numpy(), relevant.numpy()))


def test_samples_without_a_positive_have_no_average_precision():
    counts = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    found = average_precision(torch.arange(3.0), torch.tensor([True, False, False]), counts)
    for values in found:
        assert values.isnan().tolist() == [True, False]
        assert values[1] == 1


def test_at_one_decay_the_map_is_that_of_sklearns_classifiers():
    (x, y), (q, z) = data(300, seed=1), data(200, seed=2)
    decay = 1e-2
    result = multilabel_protocol(x, y, q, z, decays=[decay])
    mean, scale = standardiser(x)
    found = []
    for c in range(4):
        model = LogisticRegression(C=1 / (decay * 300), tol=1e-8, max_iter=1000)
        model.fit(((x - mean) * scale).double().numpy(), y[:, c].numpy())
        scores = model.decision_function(((q - mean) * scale).double().numpy())
        found.append(average_precision_score(z[:, c], scores))
    assert result.value == pytest.approx(np.mean(found), abs=2e-3)
    assert 0.5 < result.value < 0.99
    assert result.interval[0] < result.value < result.interval[1]
    assert list(result.measures)[1] == "mAP (VOC07, 11 points)"


def test_the_decay_is_chosen_on_held_out_images():
    (x, y), (q, z) = data(120, seed=3, d=80, noise=3.0), data(400, seed=4, d=80, noise=3.0)
    chosen = multilabel_protocol(x, y, q, z)
    loose = multilabel_protocol(x, y, q, z, decays=[1e-6])
    assert chosen.value > loose.value
    assert chosen.settings["decay"] > 1e-4
    assert not chosen.saw_test


def test_labels_without_positives_are_left_out_with_a_note():
    (x, y), (q, z) = data(100, seed=1), data(80, seed=2)
    full = multilabel_protocol(x, y[:, 1:3], q, z[:, 1:3], decays=[1e-2])
    y[:, 0], z[:, 3] = False, False
    result = multilabel_protocol(x, y, q, z, decays=[1e-2])
    assert result.classes == 2
    assert result.value == pytest.approx(full.value, abs=1e-3)
    assert (
        "1 of 4 labels with no positive in the training part (first: label number 0"
        in (result.notes[0])
    )
    assert "test part (first: label number 3" in result.notes[1]
    assert result.lines()[-1].strip() == result.notes[1]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"train_y": torch.arange(10)}, "joined by |"),
        ({"train_y": 2 * torch.ones(10, 3)}, "0 or 1"),
        ({"train_y": torch.ones(9, 3)}, "(9, 3)"),
        ({"test_y": torch.ones(4, 2)}, "2; wanted the same"),
        ({"test_y": torch.zeros(4, 3)}, "None of the 3 labels"),
        ({"train_x": torch.full((10, 4), torch.nan)}, "NaN"),
        ({"test_x": torch.ones(4, 5)}, "dimensions"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(change, word):
    given = {
        "train_x": torch.eye(10, 4),
        "train_y": torch.ones(10, 3),
        "test_x": torch.ones(4, 4),
        "test_y": torch.ones(4, 3),
    }
    with pytest.raises(UsageError) as caught:
        multilabel_protocol(*(given | change).values())
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_handful_of_images_is_enough():
    y = torch.eye(4).repeat(2, 1)
    assert multilabel_protocol(y, y, y, y).value == 1.0
