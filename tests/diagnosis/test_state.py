import pytest
import torch

from manyviews.core import UsageError
from manyviews.diagnosis.state import state_of


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_features_in_all_directions_are_no_collapse():
    said = state_of(randn(600, 64))
    assert (said.title, said.light) == ("not collapsed", "ok")
    assert f"{said.directions:.0f} of 64 directions" in said.sentence
    assert (said.rows, said.width) == (600, 64)
    assert all(isinstance(v, float) for v in said.numbers.values())


def test_positive_features_of_an_untrained_network_are_no_collapse():
    net = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 128))
    with torch.no_grad():
        said = state_of(net(randn(500, 64) + 4).relu())
    assert said.numbers["cosine"] > 0.9
    assert said.light == "ok"


def test_a_few_directions_are_a_dimensional_collapse():
    said = state_of(randn(1000, 4) @ randn(4, 512) + 1e-3)
    assert (said.title, said.light) == ("dimensional collapse", "bad")
    assert "4 of 512 directions" in said.sentence


def test_thousands_of_directions_are_written_as_above_the_sentence():
    assert "of 2,048 directions are used" in state_of(randn(20, 2048)).sentence


def test_some_more_directions_are_narrow():
    said = state_of(randn(1000, 15) @ randn(15, 512))
    assert (said.title, said.light) == ("narrow", "warn")


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_equal_features_are_a_complete_collapse(noise):
    said = state_of(torch.ones(100, 32) + noise * randn(100, 32))
    assert (said.title, said.light) == ("complete collapse", "bad")
    assert "{" not in said.sentence


def test_few_rows_are_not_held_against_a_wide_space():
    assert state_of(randn(20, 2048)).light == "ok"


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(UsageError, match="2 or more"):
        state_of(torch.ones(1, 4))
    with pytest.raises(UsageError, match="diverged"):
        state_of(torch.full((5, 4), torch.nan))


def test_uniform_targets_are_a_collapse_though_features_look_healthy():
    said = state_of(randn(300, 32), target_entropy=0.999, usage_entropy=1.0)
    assert (said.title, said.light) == ("uniform collapse", "bad")
    assert said.numbers["target_entropy"] == 0.999
    assert state_of(randn(300, 32), target_entropy=0.99, usage_entropy=1.0).light == "ok"
    said = state_of(randn(300, 32), target_entropy=0.01, usage_entropy=0.02)
    assert (said.title, said.light) == ("one-prototype collapse", "bad")


def test_targets_that_tell_images_apart_are_healthy():
    said = state_of(randn(300, 32), target_entropy=0.4, usage_entropy=0.95)
    assert said.title == "not collapsed"
    assert "target_entropy" not in state_of(randn(300, 32)).numbers


def test_equal_features_are_a_complete_collapse_whatever_targets_say():
    assert state_of(torch.ones(50, 8), target_entropy=0.99).title == "complete collapse"
