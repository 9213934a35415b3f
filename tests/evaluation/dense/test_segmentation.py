"""Segmentation from patch features, against independent computations and on made-up features."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import jaccard_score

from manyviews.core import UsageError
from manyviews.evaluation.dense import segmentation as segmenting
from manyviews.evaluation.dense.masked import VOID
from manyviews.evaluation.dense.segmentation import DensePart, overlap, segmentation
from manyviews.evaluation.dense.settings import Segmentation

torch.set_num_threads(1)
GRID, SIDE, CLASSES = (4, 4), 16, 3


def patchwork(n, seed=0, noise=0.1, classes=CLASSES, void=0.0):
    """Images whose patches are of one class each, and features that tell which, with noise."""
    g = torch.Generator().manual_seed(seed)
    kinds = torch.randint(classes, (n, 4, 4), generator=g)
    codes = torch.randn(classes, 8, generator=torch.Generator().manual_seed(9))
    x = codes[kinds.flatten(1)] + noise * torch.randn(n, 16, 8, generator=g)
    masks = kinds.repeat_interleave(4, 1).repeat_interleave(4, 2).int()
    masks[torch.rand(masks.shape, generator=g) < void] = VOID
    return DensePart(x, masks)


def of(train, test, **settings):
    return segmentation(train, test, grid=GRID, settings=Segmentation(**settings))


def test_overlap_counts_what_a_jaccard_score_does():
    g = torch.Generator().manual_seed(0)
    found, there = torch.randint(5, (2, 7, 6, 6), generator=g)
    there[torch.rand(there.shape, generator=g) < 0.2] = VOID
    count = overlap(found, there, 5)
    known = there != VOID
    wanted = jaccard_score(there[known], found[known], average=None, labels=range(5))
    np.testing.assert_allclose(count.ious()[0], wanted)
    miou, accuracy = count.scores()[0].tolist()
    assert miou == pytest.approx(wanted.mean())
    assert accuracy == pytest.approx(float((found == there)[known].float().mean()))


def test_a_class_that_is_nowhere_is_not_in_the_mean():
    found, there = torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 2).long()
    assert overlap(found, there, 3).scores().tolist() == [[1.0, 1.0]]
    there[0, 0] = 1  # of four pixels two: class 0 has 2 of 4, class 1 none of 2
    assert overlap(found, there, 3).scores().tolist() == [[0.25, 0.5]]


def test_features_that_tell_the_class_give_all_of_it_by_neighbours():
    found = of(patchwork(20), patchwork(8, seed=1))
    assert found.measures["mIoU of kNN"].value == 1
    assert found.value > 0.7  # the head's scores are smooth from patch to patch
    assert found.metric == "mIoU"
    assert (found.train, found.n, found.classes) == (20, 8, 3)


def test_features_of_noise_give_no_more_than_chance():
    train, test = patchwork(20), patchwork(8, seed=1)
    blind = DensePart(torch.randn_like(train.features), train.classes)
    found = of(blind, DensePart(torch.randn_like(test.features), test.classes))
    assert found.value < 0.3
    assert found.measures["mIoU of kNN"].value < 0.35


def test_neighbours_vote_pixel_by_pixel():
    """Every patch is half of one class and half of another: the tile comes back as it was."""
    train, test = patchwork(20), patchwork(6, seed=1)
    cut = [DensePart(part.features, part.classes.clone()) for part in (train, test)]
    for part in cut:
        part.classes[:, :, ::4] = (part.classes[:, :, ::4] + 1) % CLASSES
    found = of(*cut)
    assert found.measures["mIoU of kNN"].value == 1
    assert found.value < 0.8


def transcribed(train, test, k, cosine):
    """kNN over patches, patch by patch, as CAPI's script has it."""
    tile = lambda part: part.classes.unfold(1, 4, 4).unfold(2, 4, 4).reshape(-1, 16)  # noqa: E731
    x, q = train.features.flatten(0, 1).double(), test.features.flatten(0, 1).double()
    mean, std = x.mean(0), x.std(0)
    x, q = (x - mean) / std, (q - mean) / std
    if cosine:
        x, q = F.normalize(x), F.normalize(q)
    out = []
    for query in q:
        near = (x - query).square().sum(1).argsort()[:k]
        out.append(
            torch.stack([torch.bincount(p, minlength=3).argmax() for p in tile(train)[near].T])
        )
    return torch.stack(out), tile(test)


@pytest.mark.parametrize(("k", "metric"), [(1, "cosine"), (3, "distance")])
def test_neighbours_are_those_of_a_transcription(monkeypatch, k, metric):
    train, test = patchwork(10, noise=1.0), patchwork(3, seed=1, noise=1.0)
    monkeypatch.setattr(segmenting, "NEIGHBOURS", (k,))
    monkeypatch.setattr(segmenting, "METRICS", (metric,))
    found = of(train, test)
    votes, truth = transcribed(train, test, k, metric == "cosine")
    wanted = jaccard_score(truth.flatten(), votes.flatten(), average="macro")
    assert found.measures["mIoU of kNN"].value == pytest.approx(wanted)
    assert (found.settings["k"], found.settings["metric"]) == (k, metric)


def test_what_has_no_class_is_neither_learnt_nor_counted():
    train, test = patchwork(20, void=0.2), patchwork(8, seed=1, void=0.2)
    assert of(train, test).measures["mIoU of kNN"].value == 1
    train.classes[:10] = VOID
    wrong = train.features.clone()
    wrong[:10] = train.features[:10].roll(1, 1) + 3
    assert of(DensePart(wrong, train.classes), test).measures["mIoU of kNN"].value == 1


def test_settings_are_chosen_on_training_images_alone():
    train, test = patchwork(20, noise=1.0), patchwork(6, seed=1, noise=1.0)
    first = of(train, test).settings
    moved = DensePart(test.features.flip(0), test.classes)
    assert of(train, moved).settings == first


def test_intervals_hold_the_value_and_narrow_with_images():
    train = patchwork(20, noise=1.5)
    few, many = (of(train, patchwork(n, seed=2, noise=1.5)) for n in (4, 64))
    widths = [high - low for low, high in (few.interval, many.interval)]
    assert widths[1] < widths[0] / 2
    assert many.interval[0] < many.value < many.interval[1]


def test_a_side_that_the_grid_does_not_divide_is_measured_too():
    at = ((torch.arange(81) + 0.5) * 16 / 81).long()
    larger = [
        DensePart(p.features, p.classes[:, at][:, :, at])
        for p in (patchwork(12), patchwork(4, seed=1))
    ]
    assert of(*larger).measures["mIoU of kNN"].value > 0.9


def test_pixels_that_no_neighbour_has_a_class_for_take_that_of_the_nearest_patch(monkeypatch):
    monkeypatch.setattr(segmenting, "NEIGHBOURS", (1,))
    train, test = patchwork(20, void=0.3), patchwork(8, seed=1)
    assert of(train, test).measures["mIoU of kNN"].value == 1


def test_numbers_of_classes_may_be_anything_and_names_are_said():
    train, test = patchwork(12), patchwork(4, seed=1)
    far = [DensePart(p.features, p.classes * 300 + 7) for p in (train, test)]
    assert of(*far).measures == of(train, test).measures
    named = segmentation(train, test, grid=GRID, settings=Segmentation(), names=("sky", "sea"))
    assert [n for n in named.notes if n.startswith("IoU by class: sky = 0.") and ", sea = 0." in n]


def test_a_class_that_is_only_tested_is_said_and_counts_as_missed():
    train, test = patchwork(12), patchwork(4, seed=1)
    more = DensePart(test.features, test.classes.clone())
    more.classes[:, :4, :4] = 5
    found = of(train, more)
    assert "in no training mask: 5" in found.notes
    assert found.value < of(train, test).value - 0.1


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (patchwork(1), patchwork(2), "1 training masks hold 3 classes; wanted 2 or more of both"),
        (patchwork(4, classes=1), patchwork(2), "4 training masks hold 1 classes"),
        (patchwork(4), patchwork(2, void=2.0), "No test mask has a pixel of a class"),
    ],
)
def test_what_cannot_be_measured_is_said(train, test, said):
    with pytest.raises(UsageError, match=said):
        of(train, test)


def test_thin_things_that_no_patch_is_mostly_of_are_said():
    train, test = patchwork(4, classes=1), patchwork(2)
    train.classes[:, 0] = 1
    with pytest.raises(UsageError, match="All training patches are mostly of one class"):
        of(train, test)
