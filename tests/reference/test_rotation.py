"""Rotation against its formula, and against images that the authors' code turned."""

import torch
from raw import Raw, assert_same, gaussian, load
from torch import nn

from manyviews.core import Batch, Clock, Given
from manyviews.core.batch import Features
from manyviews.core.encoder import Encoder
from manyviews.methods.pretext.rotation import Rotation, RotationConfig, turned
from tiny import TinyConv

SAVED = load("rotnet")


class Flat(Encoder):
    """The pixels themselves, so that every one of them counts."""

    dim = 3 * 5 * 5
    grid = (1,)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        return Features(x.flatten(1), x.flatten(1)[:, None])


def test_images_are_turned_as_by_the_authors_code():
    ours = turned(SAVED["images"].movedim(-1, 1)).movedim(2, -1)
    assert torch.equal(ours, SAVED["turned"])


def test_the_loss_is_the_papers():
    """Equations 2 and 3: over images the mean of the mean over turns of -log F^y(g(X|y))."""
    torch.manual_seed(0)
    method = Rotation(Given({"image": Flat()}), RotationConfig()).double()
    images = gaussian(0, 4, 1, 3, 5, 5)
    step = method(Batch({"global": images}, torch.arange(4)), Clock(0, 1))
    [layer] = method.head
    total = 0.0
    for image in images[:, 0]:
        for y in range(4):
            x = image
            for _ in range(y):  # a quarter turn counter-clockwise: transpose, then upside down
                x = x.transpose(1, 2).flip(1)
            scores = layer.weight @ x.flatten() + layer.bias
            total = total - (scores[y] - scores.logsumexp(0)) / (4 * len(images))
    assert_same(step.total, total, [images, layer.weight, layer.bias], rtol=1e-10, atol=1e-13)


def test_other_views_than_the_first_do_not_count():
    method = Rotation(Given({"image": Flat()}), RotationConfig()).double()
    images = gaussian(1, 2, 3, 3, 5, 5)
    losses = [
        method(Batch({"global": x}, torch.arange(2)), Clock(0, 1)).total
        for x in (images, images[:, :1])
    ]
    assert losses[0] == losses[1]


def test_all_turns_share_their_batch_statistics():
    """Turned apart, a network could tell a turn by the statistics of its batch."""
    torch.manual_seed(0)
    encoder = TinyConv()
    method = Rotation(Given({"image": encoder}), RotationConfig()).train()
    images = gaussian(2, 4, 1, 3, 16, 16).detach().float()
    seen = []
    encoder.body[1].register_forward_hook(lambda module, inputs, out: seen.append(len(inputs[0])))
    method(Batch({"global": images}, torch.arange(4)), Clock(0, 1))
    assert seen == [16]


def test_a_hidden_layer_can_stand_before_the_answer():
    method = Rotation(Given({"image": Raw(6)}), RotationConfig(hidden=5))
    sizes = [(m.in_features, m.out_features) for m in method.head if isinstance(m, nn.Linear)]
    assert sizes == [(6, 5), (5, 4)]
    method = Rotation(Given({"image": Flat()}), RotationConfig(hidden=5)).double()
    batch = Batch({"global": gaussian(0, 3, 1, 3, 5, 5)}, torch.arange(3))
    assert method(batch, Clock(0, 1)).total.isfinite()


def test_clips_are_turned_as_a_whole_and_told_by_the_same_formula():
    clips = torch.randn(2, 3, 4, 6, 6, dtype=torch.float64)
    four = turned(clips)
    assert four.shape == (2, 4, 3, 4, 6, 6)
    for k in range(4):
        for frame in range(4):
            assert torch.equal(four[:, k, :, frame], clips[:, :, frame].rot90(k, (-2, -1)))
