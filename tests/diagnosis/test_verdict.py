import pytest
import torch

from manyviews.core import UsageError
from manyviews.diagnosis.verdict import verdict


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_features_in_all_directions_are_healthy():
    said = verdict(randn(600, 64))
    assert (said.state, said.light) == ("healthy", "ok")
    assert f"{said.directions:.0f} of 64 directions" in said.sentence
    assert (said.rows, said.width) == (600, 64)
    assert all(isinstance(v, float) for v in said.numbers.values())


def test_positive_features_of_an_untrained_network_are_no_collapse():
    net = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 128))
    with torch.no_grad():
        said = verdict(net(randn(500, 64) + 4).relu())
    assert said.numbers["cosine"] > 0.9
    assert said.light == "ok"


def test_a_few_directions_are_a_dimensional_collapse():
    said = verdict(randn(1000, 4) @ randn(4, 512) + 1e-3)
    assert (said.state, said.light) == ("dimensional collapse", "bad")
    assert "4 of 512 directions" in said.sentence


def test_some_more_directions_are_narrow():
    said = verdict(randn(1000, 15) @ randn(15, 512))
    assert (said.state, said.light) == ("narrow", "warn")


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_equal_features_are_a_complete_collapse(noise):
    said = verdict(torch.ones(100, 32) + noise * randn(100, 32))
    assert (said.state, said.light) == ("complete collapse", "bad")
    assert "{" not in said.sentence


def test_few_rows_are_not_held_against_a_wide_space():
    assert verdict(randn(20, 2048)).light == "ok"


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(UsageError, match="2 or more"):
        verdict(torch.ones(1, 4))
    with pytest.raises(UsageError, match="diverged"):
        verdict(torch.full((5, 4), torch.nan))
