"""Which samples a page shows."""

import numpy as np
import pytest

from manyviews.reports.samples import LEAST, MOST, alike, groups, lonely


def blobs(*sizes, dim=8, spread=0.05, seed=0):
    """Rows around as many directions, in order."""
    random = np.random.default_rng(seed)
    centres = np.eye(dim, dtype=np.float32)[: len(sizes)]
    rows = [
        centre + spread * random.normal(size=(size, dim))
        for centre, size in zip(centres, sizes, strict=True)
    ]
    return np.concatenate(rows).astype(np.float32)


def test_what_is_like_no_other_comes_first():
    rows = np.concatenate([blobs(20, 20), -np.eye(8, dtype=np.float32)[7:]])
    [(first, cosine), (_, second)] = lonely(rows, count=2)
    assert first == 40
    assert cosine < second - 0.3
    assert lonely(rows[:6]) == []


def test_the_mean_is_over_the_nearest_and_not_the_row_itself():
    rows = blobs(9, 9)
    centred = rows - rows.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    [(row, cosine)] = lonely(rows, count=1, near=3)
    others = np.delete(centred @ centred[row], row)
    assert cosine == pytest.approx(np.sort(others)[-3:].mean(), abs=1e-6)


def test_copies_are_found_nearest_first_and_each_row_once():
    rows = blobs(10, 10, spread=0.4)
    rows[13], rows[4] = rows[2], rows[2]  # three of one
    rows[17] = rows[8] + 0.02
    found = alike(rows, least=0.99)
    assert [pair[:2] for pair in found] == [(2, 4), (8, 17)]
    assert found[0][2] == pytest.approx(1, abs=1e-5)
    assert found[1][2] < found[0][2]
    assert alike(rows, least=0.99, count=1) == found[:1]


def test_groups_are_those_that_there_are_the_largest_first():
    rows = blobs(6, 14, 12)  # 4 clusters are looked for; no blob is mixed with another
    found, of = groups(rows, shown=3)
    assert len(found) == 4
    sizes = [group.size for group in found]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes == np.bincount(of).tolist()
    for i, group in enumerate(found):
        assert all(of[row] == i for row in group.typical)
    kinds = np.repeat([0, 1, 2], [6, 14, 12])
    assert all(len(set(kinds[of == i])) == 1 for i in range(4))


def test_the_first_of_a_group_is_the_nearest_to_its_centre():
    rows = blobs(30, 30, spread=0.2)
    found, of = groups(rows)
    unit = rows - rows.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    members = np.nonzero(of == 0)[0]
    apart = np.linalg.norm(unit[members] - unit[members].mean(axis=0), axis=1)
    assert found[0].typical[0] == members[apart.argmin()]


def test_few_rows_have_no_groups_and_many_have_so_many_as_there_are_colours():
    assert groups(blobs(LEAST - 1))[0] == []
    assert len(groups(blobs(300, 300))[0]) == MOST
