"""AVTS against its formula, pair by pair, before and after the curriculum's change."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from raw import Raw, gaussian

from manyviews.core import Batch, Clock, Given
from manyviews.core.inputs import LogMel
from manyviews.core.sample import Window
from manyviews.methods.audiovisual.avts import AVTS, AVTSConfig
from manyviews.views.audio.sounds import Sounds

CLIP, SOUND = 0.5, 1.0


def make(**settings):
    torch.manual_seed(0)
    video, audio = Raw(5), Raw(3)
    video.input, audio.input = SimpleNamespace(seconds=CLIP), SimpleNamespace(seconds=SOUND)
    given = Given({"video": video, "audio": audio}, 9)
    return AVTS(given, AVTSConfig(hard_from=5 / 9, hidden=6, out=4, **settings)).double()


def some_batch(offset=(0.6, -1.2, 0.4, -0.9)):
    views = {"video": gaussian(0, 4, 1, 5), "audio": gaussian(1, 4, 1, 3)}
    views["apart"] = gaussian(2, 4, 1, 3)
    cue = torch.tensor(offset, dtype=torch.float64)[:, None]
    return Batch(views, torch.arange(4), {"apart.offset": cue})


@pytest.mark.parametrize("margin", [0.4, 0.99])
@pytest.mark.parametrize(("step", "hard"), [(0, 0.0), (49, 0.0), (50, 0.25), (80, 0.25)])
def test_the_loss_and_its_gradient_are_the_formula(step, hard, margin):
    """An epoch a step: the paper's fifty-first is the first with hard negatives."""
    method, batch = make(margin=margin), some_batch()
    z = {
        name: method.branches[to].head(batch.views[name][:, 0])
        for name, to in (("video", "video"), ("audio", "audio"), ("apart", "audio"))
    }
    together = others = late = 0.0
    for i in range(4):
        together = together + (z["video"][i] - z["audio"][i]).square().sum()
        other = (z["video"][i] - z["audio"][(i + 1) % 4]).norm()
        others = others + (margin - other).clamp(min=0) ** 2
        if i in (0, 1):  # the others share time with their clips
            late = late + (margin - (z["video"][i] - z["apart"][i]).norm()).clamp(min=0) ** 2
    expected = (together + (1 - hard) * others + hard * late) / 4 / 2
    made = method(batch, Clock(step, 90))
    torch.testing.assert_close(made.total, expected, rtol=1e-6, atol=1e-9)
    assert ("out_of_step" in made.losses) == (hard > 0)
    leaves = [batch.views["video"], batch.views["audio"], *method.parameters()]
    found, wanted = (
        torch.autograd.grad(x, leaves, allow_unused=True) for x in (made.total, expected)
    )
    for mine, other in zip(found, wanted, strict=True):
        if other is not None:
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-8)


def starts(span, *clips, seed=0, apart=0.5, index=0):
    fed = LogMel(rate=8000, seconds=SOUND)
    maker = Sounds(count=len(clips), apart=apart).maker("apart", fed, (), seed=seed)
    around = [Window(start, start + CLIP, 8) for start in clips]
    return np.array([w.start for w in maker.windows(index, 0, span, around)])


def test_pieces_apart_lie_on_either_side_and_as_far_as_was_asked():
    found = np.concatenate([starts(8.0, 3.0, index=i) for i in range(2000)])
    before, after = found[found < 3.0], found[found > 3.0]
    assert before.min() < 0.02
    assert before.max() <= 1.5
    assert before.max() > 1.45
    assert after.min() >= 4.0
    assert after.max() <= 7.0
    assert after.max() > 6.95
    assert len(before) / len(found) == pytest.approx(1.5 / 4.5, abs=0.04)  # as there is room


def test_where_there_is_no_room_a_piece_is_as_far_as_it_goes():
    np.testing.assert_allclose(starts(1.8, 0.0), [0.8])
    np.testing.assert_allclose(starts(1.8, 1.3), [0.0])
    np.testing.assert_allclose(starts(0.7, 0.1), [0.0])
    assert starts(3.0, 0.0)[0] >= 1.0
