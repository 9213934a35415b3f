"""RankMe's rule of choosing, on ranks that are given."""

import pytest
from scipy import stats

from manyviews.core import UsageError
from manyviews.diagnosis.choosing import Candidate, choose_setting, spearman


def sweep(ranks, path="optim.lr", accuracies=()):
    """A candidate a value of one setting."""
    return [
        Candidate(
            name=f"run{i}",
            rank=rank,
            settings={path: value},
            accuracies={"kNN": accuracies[i]} if accuracies else {},
        )
        for i, (value, rank) in enumerate(ranks.items())
    ]


@pytest.mark.parametrize(
    ("ranks", "wanted"),
    [
        ({0.1: 10, 0.3: 30, 1.0: 20}, 0.3),  # a peak
        ({0.1: 10, 0.3: 30, 1.0: 30.1, 3.0: 30.2}, 0.3),  # rises to a plateau: where it begins
        ({0.1: 30.1, 0.3: 30, 1.0: 30.2, 3.0: 10}, 1.0),  # falls from one: where it ends
        ({3.0: 10, 0.1: 30.1, 1.0: 30.2, 0.3: 30}, 1.0),  # whatever the order of runs
        ({0.1: 10, 0.3: 30, 1.0: 30.1, 3.0: 20}, 1.0),  # a plateau in the middle: the highest
        ({0.1: 30.1, 0.3: 10, 1.0: 30}, 0.1),  # two peaks are no plateau
        ({0.1: 30, 0.3: 30.1, 1.0: 30.05}, 0.3),  # all alike: the highest
    ],
)
def test_the_highest_rank_or_the_end_of_a_plateau_is_chosen(ranks, wanted):
    assert choose_setting(sweep(ranks)).setting == f"optim.lr {wanted}"


def test_a_setting_that_is_no_number_has_no_plateau():
    ranks = {"adamw": 30.0, "lars": 30.1, "sgd": 10.0}
    assert choose_setting(sweep(ranks, "optim.name")).setting == "optim.name lars"
    assert choose_setting(sweep({False: 30.1, True: 30.0}, "x")).setting == "x False"


def test_seeds_of_a_setting_count_as_their_mean():
    runs = [
        Candidate(name=f"{lr}-{i}", rank=rank, settings={"lr": lr}, accuracies={"kNN": rank / 100})
        for lr, ranks in {0.1: (40, 10), 0.2: (30, 28)}.items()
        for i, rank in enumerate(ranks)
    ]
    found = choose_setting(runs)
    assert found.setting == "lr 0.2"
    assert found.runs == ("0.2-0", "0.2-1")
    assert found.ranks == {"lr 0.2": 29, "lr 0.1": 25}
    assert found.oracles[0].value == pytest.approx(0.29)


def test_what_labels_say_stands_beside_and_decides_nothing():
    found = choose_setting(sweep({1: 10, 2: 30, 3: 20}, accuracies=(0.9, 0.7, 0.2)))
    assert found.setting == "optim.lr 2"
    [oracle] = found.oracles
    assert (oracle.setting, oracle.value, oracle.chosen) == ("optim.lr 1", 0.9, 0.7)
    assert oracle.agreement == pytest.approx(-0.5)
    assert any("20.00 points less. Rank correlation with RankMe -0.50" in x for x in found.lines())
    missing = [*sweep({1: 10}, accuracies=(0.9,)), *sweep({2: 30})]
    assert choose_setting(missing).oracles == ()


def test_spearman_is_that_of_scipy():
    a, b = [3.0, 1.0, 2.0, 2.0, 5.0], [1.0, 1.0, 4.0, 2.0, 9.0]
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert spearman([1.0, 1.0], [1.0, 2.0]) != spearman([1.0, 1.0], [1.0, 2.0])  # NaN


def test_one_setting_is_no_choice():
    with pytest.raises(UsageError, match="2 runs have 1 different settings; wanted 2 or more"):
        choose_setting([*sweep({1: 3}), *sweep({1: 4})])
