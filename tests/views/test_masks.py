"""Patch masks: exact numbers, uniform places, pure."""

import numpy as np
import pytest
from scipy import stats

from manyviews.core import UsageError, settings
from manyviews.views.draw import family
from manyviews.views.masks import hidden, masks
from manyviews.views.plan import Mask


def made(count=2, patches=49, ratio=0.75, samples=2000, grid=None, **change):
    names = {
        "seed": 0,
        "epoch": 0,
        "family": family("global.mask"),
        "index": np.arange(samples),
    } | change
    return masks(**names, count=count, grid=grid or (patches,), ratio=ratio)


@pytest.mark.parametrize(
    ("ratio", "patches", "number"),
    [(0.75, 196, 147), (0.75, 49, 37), (0.6, 196, 118), (0.9, 10, 9), (0.5, 3, 2)],
)
def test_every_view_hides_the_same_exact_number(ratio, patches, number):
    assert hidden(ratio, patches) == number
    mask = made(patches=patches, ratio=ratio, samples=100)
    assert mask.shape == (100, 2, patches)
    assert mask.dtype == np.bool_
    assert (mask.sum(axis=-1) == number).all()


def test_every_patch_and_every_pair_of_patches_is_hidden_equally_often():
    mask = made(count=1, patches=8, ratio=0.5, samples=8000)[:, 0]
    pairs = (mask.T.astype(np.int64) @ mask)[np.triu_indices(8, k=1)]
    singles = mask.sum(axis=0)
    # Drawn without replacement, so counts vary less than chi-square expects: an upper bound.
    assert stats.chisquare(singles).pvalue > 1e-3
    assert np.abs(pairs / 8000 - (4 / 8) * (3 / 7)).max() < 4 * np.sqrt(0.25 / 8000)


def test_masks_depend_on_seed_epoch_family_sample_and_view_and_on_nothing_else():
    mask = made(samples=50)
    assert np.array_equal(made(index=np.array([31, 7])), mask[[31, 7]])
    assert np.array_equal(made(count=4, samples=50)[:, :2], mask)
    assert not np.array_equal(mask[:, 0], mask[:, 1])
    assert not np.array_equal(mask[0], mask[1])
    assert not np.array_equal(made(samples=50, seed=1), mask)
    assert not np.array_equal(made(samples=50, epoch=1), mask)
    assert not np.array_equal(made(samples=50, family=family("local.mask")), mask)


KINDS = {
    "random": {},
    "block": {},
    "around": {},
    "grid": {},
    "squares": {"kind": "random", "unit": 2},
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("grid", [(8, 8), (14, 14), (6, 10)])
def test_every_kind_hides_the_same_exact_number_and_draws_each_view_by_itself(name, grid):
    kind = {"kind": name} | KINDS[name]
    mask = made(grid=grid, samples=40, **kind)
    unit = kind.get("unit", 1)
    wanted = unit**2 * hidden(0.75, grid[0] * grid[1] // unit**2)
    assert (mask.sum(axis=-1) == wanted).all()
    assert np.array_equal(made(grid=grid, index=np.array([31, 7]), **kind), mask[[31, 7]])
    assert np.array_equal(made(grid=grid, count=4, samples=40, **kind)[:, :2], mask)
    if name == "grid":
        assert (mask == mask[0, 0]).all()
    else:
        assert not np.array_equal(mask[0], mask[1])
        assert not np.array_equal(made(grid=grid, samples=40, epoch=1, **kind), mask)


def test_the_last_times_are_hidden_or_any_in_a_row_between_the_first_and_the_last():
    future = made(grid=(5, 2, 3), kind="future", ratio=0.4, samples=3).reshape(3, 2, 5, 6)
    assert (future == np.array([0, 0, 0, 1, 1], dtype=bool)[:, None]).all()
    between = made(grid=(6, 2, 3), kind="between", ratio=0.5, samples=200).reshape(200, 2, 6, 6)
    assert (between == between[..., :1]).all()  # all places of a time
    rows = {tuple(row.astype(int)) for row in between[..., 0].reshape(-1, 6)}
    assert rows == {(0, 1, 1, 1, 0, 0), (0, 0, 1, 1, 1, 0)}
    assert not np.array_equal(between[:, 0], between[:, 1])
    for kind, ratio in (("future", 0.95), ("between", 0.7)):
        with pytest.raises(UsageError, match=r"of 4 times were to be hidden, .*mask\.ratio"):
            made(grid=(4, 2, 2), kind=kind, ratio=ratio)
    with pytest.raises(UsageError, match=r"Masks of kind future .* do not fit"):
        made(grid=(4, 4), kind="future")


def test_tubes_hide_the_same_places_at_all_times():
    mask = made(grid=(3, 4, 5), kind="tube", ratio=0.9, samples=60).reshape(60, 2, 3, 20)
    assert (mask == mask[:, :, :1]).all()
    assert (mask[:, :, 0].sum(axis=-1) == hidden(0.9, 20)).all()
    assert not np.array_equal(mask[0], mask[1])
    assert not np.array_equal(mask[:, 0], mask[:, 1])
    singles = made(grid=(1, 2, 4), kind="tube", ratio=0.5, samples=4000)[:, 0].sum(axis=0)
    assert stats.chisquare(singles).pvalue > 1e-3
    agnostic = made(grid=(3, 4, 5), ratio=0.9, samples=60).reshape(60, 2, 3, 20)
    assert not (agnostic == agnostic[:, :, :1]).all()
    assert (agnostic.sum(axis=(2, 3)) == hidden(0.9, 60)).all()


def test_tubes_of_images_are_refused():
    with pytest.raises(UsageError, match=r"kind tube .* tokens of \(4, 5\).*kind random"):
        made(grid=(4, 5), kind="tube")


def borders(mask, grid):
    """Neighbours of which one is hidden and the other is not, a view."""
    m = mask.reshape(-1, *grid)
    return ((m[:, 1:] != m[:, :-1]).sum() + (m[..., 1:] != m[..., :-1]).sum()) / len(m)


def test_blocks_are_rectangles_and_hide_every_patch_at_some_time():
    grid = (14, 14)
    block, random = (made(grid=grid, ratio=0.4, samples=300, kind=k) for k in ("block", "random"))
    assert (block.sum(axis=-1) == 79).all()
    assert borders(block, grid) < 0.5 * borders(random, grid)
    often = block.mean(axis=(0, 1))
    assert often.min() > 0.02  # corners are in few rectangles
    assert often.max() < 0.8


def test_one_rectangle_shows_wherever_it_begins_and_goes_on_at_the_other_side():
    rows, columns = grid = (14, 16)
    shown = ~made(grid=grid, ratio=0.65, samples=400, kind="around").reshape(-1, *grid)
    assert (shown.sum(axis=(1, 2)) == 224 - hidden(0.65, 224)).all()
    shapes = set()
    for one in shown:
        # Rolled so that it begins at the first row and column, no row has a gap.
        down, right = one.any(axis=1), one.any(axis=0)
        top = next(r for r in range(rows) if down[r] and (down.all() or not down[r - 1]))
        left = next(c for c in range(columns) if right[c] and (right.all() or not right[c - 1]))
        height, width = down.sum(), right.sum()
        rolled = np.roll(one, (-top, -left), (0, 1))
        if not (down.all() or right.all()):
            assert rolled[: height - 1, :width].all()  # only the last row may be cut
            last = rolled[height - 1]
            assert last[: last.sum()].all()
            shapes.add(height / width)
    assert 0.4 < min(shapes) < 0.65
    assert 1.6 < max(shapes) < 2.4
    often = shown.mean(axis=0)
    assert often.min() > 0.26  # at the border as in the middle
    assert often.max() < 0.44


def test_squares_are_hidden_whole_and_a_grid_shows_every_second_patch_of_every_second_row():
    squares = made(grid=(6, 8), ratio=0.6, samples=50, unit=2).reshape(50, 2, 3, 2, 4, 2)
    assert (squares == squares[:, :, :, :1, :, :1]).all()
    assert (squares[:, :, :, 0, :, 0].sum(axis=(-1, -2)) == 8).all()  # 12 - int(12 * 0.4)
    seen = ~made(grid=(7, 7), samples=1, kind="grid").reshape(2, 7, 7)
    assert seen[:, ::2, ::2].all()
    assert seen.sum() == 2 * 16


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match=r"squares of 2 do not fit tokens of \(7, 7\)\. Set"):
        made(grid=(7, 7), unit=2)
    with pytest.raises(UsageError, match=r"kind block .* do not fit tokens of \(49,\)"):
        made(kind="block")
    with pytest.raises(UsageError, match=r"--mask.ratio is 0.6; wanted 0.75, 0.89"):
        settings.check(Mask(ratio=0.6, kind="grid"), "mask.")
    with pytest.raises(UsageError, match=r"--mask.unit is 2; wanted 1, as its kind is block"):
        settings.check(Mask(ratio=0.6, kind="block", unit=2), "mask.")
    settings.check(Mask(ratio=0.75, kind="grid"))
