"""Clips whose time alone is changed, and what that tells of an encoder."""

import numpy as np
import pytest
import torch

from manyviews.core import UsageError
from manyviews.core.inputs import Frames, Pixels
from manyviews.core.sample import WHOLE
from manyviews.diagnosis.invariance import invariance
from manyviews.views.by_input import ALTERED
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.video.single import Retimed, retimed

FED = Frames(side=4, frames=8, rate=8.0)
NAMES = ("middle frame alone", "shuffled frames", "reversed", "half the speed")


def made(change, clip, *, index=0):
    maker = Retimed(change=change).maker("global", FED, (), seed=0)
    out = np.zeros((1, 8, 4, 4, 3), np.uint8)
    assert maker([clip], [WHOLE], index, 0, out) == {}
    return out[0]


def numbered():
    """Frames that are their number."""
    return np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None, None, None], (8, 4, 4, 3)).copy()


@pytest.mark.parametrize(
    ("change", "frames"),
    [
        ("middle frame alone", [4] * 8),
        ("reversed", [7, 6, 5, 4, 3, 2, 1, 0]),
        ("half the speed", [2, 2, 3, 3, 4, 4, 5, 5]),
    ],
)
def test_frames_are_chosen_as_the_change_says(change, frames):
    assert made(change, numbered())[:, 0, 0, 0].tolist() == frames


def test_shuffled_frames_are_the_same_in_an_order_of_the_samples_own():
    orders = [made("shuffled frames", numbered(), index=i)[:, 0, 0, 0].tolist() for i in range(50)]
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert len({tuple(order) for order in orders}) > 45
    assert made("shuffled frames", numbered(), index=3)[:, 0, 0, 0].tolist() == orders[3]
    first = np.bincount([order[0] for order in orders], minlength=8)
    assert (first > 0).all()


def test_an_encoder_of_pictures_is_told_from_one_of_motion():
    """One sees the middle frame alone, one how far each frame is from the one before."""
    random = np.random.default_rng(0)
    clips = random.integers(0, 256, (30, 8, 4, 4, 3), dtype=np.uint8)
    changed = {
        name: np.stack([made(name, clip, index=i) for i, clip in enumerate(clips)])
        for name in NAMES
    }

    def bars(encode):
        shown = {name: encode(torch.from_numpy(x).double()) for name, x in changed.items()}
        return invariance(encode(torch.from_numpy(clips).double()), shown)

    picture = bars(lambda x: x[:, 4].flatten(1))
    assert picture["middle frame alone"].change == 0
    assert picture["shuffled frames"].change > 0.5
    motion = bars(lambda x: (x[:, 1:] - x[:, :-1]).abs().mean(dim=1).flatten(1))
    assert motion["middle frame alone"].change > 0.5
    assert motion["reversed"].change == pytest.approx(0, abs=1e-9)
    mean = bars(lambda x: x.mean(dim=1).flatten(1))
    assert mean["shuffled frames"].change == pytest.approx(0, abs=1e-9)


def test_video_has_changes_of_its_own_and_pictures_none_of_them():
    assert tuple(ALTERED[Frames](FED)) == NAMES == tuple(retimed(FED))
    for name, plan in retimed(FED).items():
        pipeline = Pipeline({"global": plan}, {plan.to: Fed(FED)})
        item = pipeline.of_view(numbered())
        into = {"global": np.zeros((1, 1, 8, 4, 4, 3), np.uint8)}
        pipeline.make([item], np.array([0]), 0, into)
        assert np.array_equal(into["global"][0, 0], made(name, numbered()))
    with pytest.raises(UsageError, match="is fed Pixels"):
        Retimed().maker("global", Pixels(side=4), (), seed=0)
