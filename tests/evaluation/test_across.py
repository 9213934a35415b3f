import pytest
import torch

from manyviews.core import UsageError
from manyviews.evaluation.across import across, ranks


def test_a_rank_counts_what_is_as_near_or_nearer():
    alike = torch.tensor([[0.9, 0.1, 0.2], [0.5, 0.4, 0.3], [0.7, 0.7, 0.7]])
    assert ranks(alike).tolist() == [1, 2, 3]  # of equals the own comes last


def test_both_directions_are_measured_each_by_its_own_ranks():
    alike = torch.zeros(12, 12)
    alike[:, 0] = 1.0  # all clips take the first sound; of sounds only the first has one clip
    alike.fill_diagonal_(0.5)
    alike[0, 0] = 2.0
    found = across(alike, ("video", "audio"), compared="features")
    value = {name: one.value for name, one in found.measures.items()}
    assert value["video to audio recall@1"] == pytest.approx(1 / 12)
    assert value["video to audio median rank"] == 2.0
    assert value["audio to video recall@1"] == 1.0
    assert value["audio to video median rank"] == 1.0
    assert found.measures["video to audio median rank"].low <= 2.0
    assert found.notes[0] == "compared are features"
    assert "0.0833" in found.notes[1]


def test_the_median_rank_lies_in_the_middle():
    found = across(torch.tril(torch.ones(5, 5)), ("video", "audio"), compared="features")
    assert found.measures["video to audio median rank"].value == 3.0  # of 1 to 5
    four = across(torch.tril(torch.ones(4, 4)), ("video", "audio"), compared="features")
    assert four.measures["video to audio median rank"].value == 2.5


def test_what_tells_nothing_apart_is_behind_all():
    found = across(torch.ones(8, 8), ("video", "audio"), compared="features")
    assert found.value == 0.0
    assert found.measures["audio to video median rank"].value == 8.0


def test_too_few_or_broken_features_are_refused():
    with pytest.raises(UsageError, match="2 or more"):
        across(torch.ones(1, 1), ("video", "audio"), compared="features")
    with pytest.raises(UsageError, match="--step"):
        across(torch.full((3, 3), torch.nan), ("video", "audio"), compared="features")
