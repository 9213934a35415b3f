"""A teacher sees what it would have been fed itself, and maps of two grids meet."""

import pytest
import torch
import torch.nn.functional as F

from manyviews.core import Encoder, Features, UsageError
from manyviews.core.inputs import LogMel, Pixels
from manyviews.parts.teaching import Shown, regrid, token_width
from tiny import TinyConv, TinyViT


class Looks(Encoder):
    """Remembers what it was given."""

    dim, grid = 1, (1, 1)

    def __init__(self, input):
        super().__init__()
        self.input = input

    def forward(self, x, **asked):
        self.seen = x
        return Features(x.flatten(1)[:, :1], x.flatten(1)[:, :1, None])


OURS = Pixels(side=12, mean=(0.2, 0.3, 0.4), std=(0.5, 0.6, 0.7))
RAW = torch.randint(0, 256, (2, 12, 12, 3), dtype=torch.uint8)


def test_the_same_pixels_reach_the_teacher_by_its_own_normalisation():
    theirs = Pixels(side=12)
    teacher = Looks(theirs)
    Shown(teacher, OURS)(OURS.finish(RAW))
    assert torch.equal(teacher.seen, theirs.finish(RAW))


def test_another_side_is_resized_with_antialiasing():
    theirs = Pixels(side=6)
    teacher = Looks(theirs)
    Shown(teacher, OURS)(OURS.finish(RAW))
    small = F.interpolate(RAW.movedim(3, 1) / 255, (6, 6), mode="bicubic", antialias=True).clamp(
        0, 1
    )
    assert teacher.seen.shape == (2, 3, 6, 6)
    torch.testing.assert_close(theirs.restore(teacher.seen), small, rtol=0, atol=0.6 / 255)


def test_a_smaller_crop_is_brought_to_the_teachers_side():
    teacher = Looks(OURS)
    Shown(teacher, OURS)(OURS.finish(RAW)[..., :6, :6])
    assert teacher.seen.shape == (2, 3, 12, 12)


@pytest.mark.parametrize("input", [OURS, LogMel()])
def test_what_both_are_fed_alike_goes_through_untouched(input):
    teacher, x = Looks(input), torch.randn(2, *input.shape)
    Shown(teacher, input)(x)
    assert teacher.seen is x


def test_other_channels_and_other_kinds_are_refused_with_a_remedy():
    words = r"'teacher' is fed images of 3 channels, and the encoder 1\. Set --data\.channels 3, or"
    with pytest.raises(UsageError, match=words):
        Shown(Looks(Pixels()), Pixels(channels=1, mean=(0.5,), std=(0.5,)))
    with pytest.raises(UsageError, match=r"is fed LogMel and the encoder Pixels .* --teachers\.x"):
        Shown(Looks(LogMel()), Pixels(), name="x")


def test_no_gradient_goes_through_a_teacher():
    teacher = TinyViT().eval()
    x = torch.randn(2, *TinyViT.input.shape, requires_grad=True)
    assert not Shown(teacher, TinyViT.input)(x).pooled.requires_grad


def test_trying_the_width_of_tokens_leaves_no_trace():
    encoder = TinyConv().train()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    assert token_width(encoder) == 16
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert all(module.training for module in encoder.modules())


def test_a_linear_ramp_stays_one_on_another_grid():
    """Rows go along the first axis; the outermost half places have nothing beyond them."""
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    tokens = torch.stack([rows, columns], dim=2).reshape(1, 24, 2)
    new = regrid(tokens, (4, 6), (8, 12)).reshape(8, 12, 2)
    torch.testing.assert_close(new[1:-1, 3, 0], torch.arange(0.25, 3, 0.5))
    torch.testing.assert_close(new[3, 1:-1, 1], torch.arange(0.25, 5, 0.5))


def test_a_crops_smaller_square_is_known_by_its_number_of_tokens():
    tokens = torch.randn(2, 4, 3)
    assert torch.equal(regrid(tokens, (4, 4), (2, 2)), tokens)
    assert regrid(tokens, (4, 4), (4, 4)).shape == (2, 16, 3)
    with pytest.raises(UsageError, match=r"Set --method\.dense 0"):
        regrid(tokens, (4, 4), (2, 2, 2))
