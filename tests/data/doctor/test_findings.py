"""What doctors of all kinds of data have in common."""

import numpy as np
import pytest

from manyviews.core.nouns import IMAGE, noun_of
from manyviews.data.doctor.findings import Findings, copies, counts, spread, tally
from manyviews.data.duplicates import print_of
from manyviews.data.quarantine import Bad


def found(**changed):
    usual = {"spec": "photos", "digest": "0" * 64, "count": 10, "examined": 10, "ignored": {}}
    return Findings(**usual | {"unreadable": (), "max_bad": 0.3} | changed)


def looks(seed):
    return print_of(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8))


def test_copies_are_counted_once_whether_or_not_they_can_be_compared():
    read = [("a", b"1", looks(0)), ("b", b"1", looks(0)), ("c", b"2", looks(0))]
    silent = [("d", b"3", None), ("e", b"3", None)]
    assert copies([*read, ("f", b"4", looks(1)), *silent]) == {
        "exact_duplicates": 2,
        "near_duplicates": 1,
        "same": (("b", "a"), ("e", "d")),
        "pairs": (("c", "a"),),
    }
    assert copies([])["exact_duplicates"] == 0


def test_the_heading_says_what_is_there_and_what_was_passed_over():
    bad = (Bad("a.png", "cut off"), Bad("b\n.png", "empty"))
    lines = found(ignored={".c": 1, ".b": 2, ".a": 1}, unreadable=bad).heading(IMAGE)
    assert lines == [
        "photos: 10 images (manifest 000000000000)",
        "other files, ignored: .b: 2, .a: 1, .c: 1",
        "unreadable: 2 (20.00%), each is replaced by another image in training",
        "  a.png: cut off",
        "  'b\\n.png': empty",
    ]
    few = found(examined=5, unreadable=bad, max_bad=0.01).heading(noun_of(["points"]))
    assert few[0] == "photos: 10 clouds, 5 of them examined (manifest 000000000000)"
    assert few[1] == "unreadable: 2 (40.00%), above --data.max-bad 0.01: training would stop"


@pytest.mark.parametrize(("number", "said"), [(1, 0), (2, 1)])
def test_more_than_a_hundredth_of_copies_is_said(number, said):
    assert len(found(count=100, examined=100).copies_advice(number)) == said


def test_of_many_kinds_the_most_frequent_twelve_are_told():
    numbers = tally([*"abcdefghijklmn", "n"])
    assert next(iter(numbers.items())) == ("n", 2)
    assert counts(numbers) == (
        "n: 2, a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1, j: 1, k: 1, "
        "and 2 more (see --json)"
    )


def test_a_spread_is_least_median_and_greatest():
    assert spread([3.0, 1.0, 2.0]) == (1.0, 2.0, 3.0)
    assert spread([]) == (0.0, 0.0, 0.0)
