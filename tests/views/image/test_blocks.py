"""I-JEPA's blocks: rectangles, exact contexts that no target shares, pure."""

import numpy as np
import pytest

from manyviews.core import UsageError, settings
from manyviews.core.inputs import Pixels
from manyviews.views.image.blocks import Blocks


def cues(grid=(14, 14), samples=200, seed=0, epoch=0, index=None, **plan):
    maker = Blocks(**plan).maker("global", Pixels(side=28), grid, seed=seed)
    where = np.arange(samples) if index is None else np.asarray(index)
    return maker.masks(where, epoch)


def sides(mask):
    """Height and width of a rectangle, which the mask is."""
    rows, columns = np.nonzero(mask)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert mask.sum() == height * width
    return height, width


def test_targets_are_rectangles_of_the_areas_and_shapes_that_are_planned():
    found = cues()["targets"].reshape(-1, 14, 14)
    measured = np.array([sides(mask) for mask in found])
    area, aspect = measured.prod(axis=1) / 196, measured[:, 0] / measured[:, 1]
    assert area.min() > 0.12
    assert area.max() < 0.22
    assert aspect.min() >= 0.7
    assert aspect.max() <= 1.7
    assert len({tuple(x) for x in measured.tolist()}) > 3
    assert found.any(axis=0).all()  # the last row and column too
    # One draw makes area and shape, so large ones are tall.
    assert np.corrcoef(area, aspect)[0, 1] > 0.5


def test_contexts_have_one_number_of_tokens_and_share_none_with_targets():
    made = cues(shown=0.2)
    assert made["context"].shape == (200, 1, 196)
    assert (made["context"].sum(axis=-1) == int(0.2 * 196)).all()
    overlap = made["context"][:, :, None] & made["targets"]
    assert overlap.sum() <= 0.001 * made["context"].sum()


def test_a_context_has_its_number_where_targets_leave_too_few():
    made = cues(shown=0.5, target=(0.6, 0.7), blocks=4, samples=20)
    assert (made["context"].sum(axis=-1) == 98).all()


@pytest.mark.parametrize("grid", [(7, 7), (6, 10), (2, 2)])
def test_blocks_depend_on_seed_epoch_sample_and_view_and_on_nothing_else(grid):
    whole = cues(grid, samples=40, count=2)
    for name, cue in whole.items():
        assert np.array_equal(cues(grid, index=[31, 7], count=2)[name], cue[[31, 7]])
        assert np.array_equal(cues(grid, samples=40, count=1)[name], cue[:, :1])
        for change in ({"seed": 1}, {"epoch": 1}):
            assert not np.array_equal(cues(grid, samples=40, count=2, **change)[name], cue)
        assert not np.array_equal(cue[:, 0], cue[:, 1])


def test_what_has_no_grid_and_areas_out_of_order_are_refused():
    with pytest.raises(UsageError, match=r"'image' has \(49,\)\. Use a ViT"):
        cues((49,))
    with pytest.raises(UsageError, match=r"--target is 0.3 0.2; wanted shares with 0 < low"):
        settings.check(Blocks(target=(0.3, 0.2)))
    with pytest.raises(UsageError, match=r"--aspect is 2 1; wanted numbers"):
        settings.check(Blocks(aspect=(2.0, 1.0)))
