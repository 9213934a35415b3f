"""Tiles and turned crops: what they show is what their cues say."""

import numpy as np
import pytest

from manyviews.core import UsageError, settings
from manyviews.core.inputs import Pixels
from manyviews.views.image.tiles import Tiles
from manyviews.views.image.turned import Turned
from manyviews.views.plan import Crops, Mask

PIXELS = Pixels(side=24)
PLAIN = {"flip": 0.0, "jitter": 0.0, "grey": 0.0}


def picture(side=24, channels=3):
    shape = (side, side, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def made(family, image, *, index=0, epoch=0, seed=0, name="some"):
    make = family.maker(name, PIXELS, (), seed=seed)
    out = np.zeros((make.layout.count, *make.layout.shape), make.layout.dtype)
    cues = make([image], make.windows(index, epoch, 0.0), index, epoch, out)
    assert {cue: make.cues[cue].count for cue in cues} == dict.fromkeys(make.cues, len(out))
    return out, next(iter(cues.values()))


@pytest.mark.parametrize(("grid", "cell", "size"), [(2, 12, 12), (3, 8, 5)])
def test_a_tile_lies_in_the_cell_that_its_cue_says(grid, cell, size):
    tiles = Tiles(grid=grid, cell=cell, size=size, scale=(1.0, 1.0), **PLAIN)
    image = picture()
    places = set()
    for index in range(20):
        out, order = made(tiles, image, index=index)
        assert sorted(order) == list(range(grid**2))
        for tile, where in zip(out, order, strict=True):
            top, left = where // grid * cell, where % grid * cell
            room = range(cell - size + 1)
            found = [
                (y, x)
                for y in room
                for x in room
                if np.array_equal(tile, image[top + y : top + y + size, left + x : left + x + size])
            ]
            assert len(found) == 1
            places |= set(found)
    assert len(places) == (cell - size + 1) ** 2


def test_every_cell_comes_everywhere_equally_often():
    counts = np.zeros((4, 4))
    for index in range(800):
        order = made(Tiles(grid=2, cell=4, size=4), picture(8), index=index)[1]
        counts[np.arange(4), order] += 1
    assert np.abs(counts / 800 - 1 / 4).max() < 4 * np.sqrt(0.25 * 0.75 / 800)


def test_each_tile_has_colours_of_its_own():
    grey = np.full((24, 24, 3), 100, dtype=np.uint8)
    out, _ = made(Tiles(cell=8, size=8), grey)
    assert all((tile == tile[0, 0]).all() for tile in out)
    assert len({tile[0, 0].tobytes() for tile in out}) == 9


@pytest.mark.parametrize("count", [1, 4])
def test_a_crop_is_turned_as_often_as_its_cue_says(count):
    crops = Crops(count=count, scale=(1.0, 1.0), ratio=(1.0, 1.0), blur=(0.0,), **PLAIN)
    seen = set()
    for index in range(12):
        out, turns = made(Turned(**vars(crops)), picture(), index=index)
        seen |= set(turns.tolist())
        for view, turn in zip(out, turns, strict=True):
            assert np.array_equal(view, np.rot90(picture(), turn))
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize("family", [Tiles(cell=8, size=6), Turned(count=4)])
def test_views_depend_on_seed_epoch_sample_and_family_and_on_nothing_else(family):
    first = made(family, picture())
    again = made(family, picture())
    assert all(map(np.array_equal, first, again))
    for change in ({"index": 1}, {"epoch": 1}, {"seed": 1}, {"name": "other"}):
        assert not np.array_equal(made(family, picture(), **change)[0], first[0])


@pytest.mark.parametrize(
    ("tiles", "says"),
    [
        (Tiles(cell=8, size=9), "--views.tiles.size is 9; wanted no more than the cell's 8"),
        (Tiles(scale=(0.5, 0.1)), "--views.tiles.scale is 0.5 0.1"),
    ],
)
def test_tiles_that_cannot_be_cut_are_refused(tiles, says):
    with pytest.raises(UsageError) as refused:
        settings.check(tiles, "views.tiles.")
    assert says in str(refused.value)


def test_masks_of_turned_crops_are_refused():
    assert [name for name, *_ in Turned(mask=Mask(ratio=0.5)).wrong()] == ["mask.ratio"]
    assert list(Turned(blur=(0.1,)).wrong()) == []
