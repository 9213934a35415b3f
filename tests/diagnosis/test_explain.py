import dataclasses

import pytest
import torch

from manyviews.core.nouns import IMAGE
from manyviews.diagnosis.clid import Clid
from manyviews.diagnosis.explain import MEASURES, Measure
from manyviews.diagnosis.prototypes import Usage
from manyviews.diagnosis.state import state_of

FUNCTIONS = {
    *("rankme", "effective_rank", "participation_ratio", "alpha_req", "collapse_level"),
    *("std", "cosine", "alignment", "uniformity", "twonn", "view_consistency", "lidar"),
    *("mst_dimension", "clid", "cluster_learnability", "graph_stability", "invariance"),
    "shared_neighbours",
    *("cluster_stability", "cluster_consistency", "nmi", "purity", "infonce_bound"),
    *("entropy_joe", "entropy_plugin", "reconstruction", "er_bound"),
    *("dse", "patch_separation", "patch_dimension"),
}


def test_every_number_has_words():
    usage = {field.name for field in dataclasses.fields(Usage)} - {"prototypes"}
    assert set(MEASURES) == FUNCTIONS | usage
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert set(state_of(x, target_entropy=0.5, usage_entropy=0.5).numbers) <= set(MEASURES)
    assert {field.name for field in dataclasses.fields(Clid)} == {"learnability", "dimension"}


@pytest.mark.parametrize("name", MEASURES)
def test_words_are_plain_sentences(name):
    measure = MEASURES[name]
    for field in dataclasses.fields(Measure):
        text = getattr(measure, field.name)
        assert text == text.strip()
        assert text
        assert "  " not in text
        assert not set("{}\n") & set(IMAGE.fill(text))
    for sentence in (measure.says, measure.cannot):
        assert sentence.endswith(".")
        assert sentence[0].isupper()
    assert (
        measure.evidence.startswith("none")
        or any(c.isdigit() for c in measure.evidence)
        or (name == "cluster_learnability")
    )


def test_words_cannot_be_changed():
    with pytest.raises(TypeError):
        MEASURES["rankme"] = MEASURES["lidar"]


@pytest.mark.parametrize("name", ["cosine", "std", "dead", "entropy_joe", "graph_stability"])
def test_no_quality_is_claimed_of_what_is_an_alarm(name):
    assert MEASURES[name].better.startswith("no direction")


def test_a_lower_dimension_is_said_to_be_better_only_where_that_was_published():
    assert MEASURES["mst_dimension"].better.startswith("lower")
    assert MEASURES["twonn"].better == "contested"
