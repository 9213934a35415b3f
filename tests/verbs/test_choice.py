"""What `compare --choose` reads, and refuses to choose by."""

from types import SimpleNamespace

import pytest

from manyviews.core import UsageError
from manyviews.verbs.compare.choice import chosen_of


def a_run(name, *, source="photos", digest="01234567"):
    settings = SimpleNamespace(method="SimCLR", data=SimpleNamespace(source=source))
    return SimpleNamespace(name=name, settings=settings, encoders=("resnet",), digest=digest)


def looked_at(images, data="photos"):
    return {"data": data, "images": images, "spaces": {"encoder": {"rankme": 10.0}}}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (looked_at(2000), "1,000 of 01234567 but 2,000 of 01234567"),
        (looked_at(1000, "drawings"), "1,000 of 01234567 but 1,000 of drawings"),
    ],
)
def test_nothing_is_chosen_by_ranks_of_different_samples(other, said):
    runs = [a_run("one"), a_run("two")]
    with pytest.raises(UsageError, match=f"diagnosed on {said}. Run `manyviews diagnose`"):
        chosen_of(runs, [looked_at(1000), other], [[], []])
