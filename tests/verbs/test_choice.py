"""What `compare --choose` reads, and refuses to choose by."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from manyviews.core import UsageError
from manyviews.core.nouns import IMAGE
from manyviews.data.settings import Data
from manyviews.diagnosis.verdict import COLLAPSED
from manyviews.verbs.compare.choice import chosen_of


@dataclass(frozen=True)
class Settings:
    data: Data
    temperature: float
    method: str = "SimCLR"


def a_run(name, *, source="photos", digest="01234567", temperature=0.1):
    settings = Settings(data=Data(source=source), temperature=temperature)
    return SimpleNamespace(
        name=name, settings=settings, encoders=("resnet",), digest=digest, noun=IMAGE
    )


def looked_at(images, data="photos", *, rank=10.0, light="ok"):
    answer = {"question": COLLAPSED, "light": light, "sentence": "Alarm: all is one point."}
    return {
        "data": data,
        "images": images,
        "spaces": {"encoder": {"rankme": rank}},
        "verdict": {"answers": [{"question": "Another?", "light": "bad"}, answer]},
    }


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


def test_a_run_in_alarm_is_not_chosen_however_high_its_rank():
    runs = [a_run(f"run{i}", temperature=i / 10) for i in range(3)]
    found = [looked_at(1000, rank=9.0), looked_at(1000, rank=11.0)]
    broken = looked_at(1000, rank=99.0, light="bad")
    choice = chosen_of(runs, [*found, broken], [[], [], []])
    assert choice.runs == ("run1",)
    assert choice.notes[0] == "run2 is left out: Alarm: all is one point."
    assert chosen_of(runs, [*found, looked_at(1000, rank=99.0)], [[], [], []]).runs == ("run2",)
    with pytest.raises(UsageError, match=r"Too few runs are sound .* run2 is left out"):
        chosen_of(runs[1:], [found[1], broken], [[], []])
