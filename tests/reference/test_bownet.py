"""BoWNet against the paper's formulas; the authors published no code.

What fails if a bug is planted: the bag of a changed view, or counts that do not add up to 1,
`test_the_loss_is_the_papers`; words found anew, or at random places,
`test_the_vocabulary_is_found_once_among_one_token_of_every_image`; weights of any length,
`test_only_the_direction_of_a_words_weights_counts`.
"""

import pytest
import torch
from torch import nn

from manyviews.core import Clock, UsageError
from manyviews.methods.clustering.bownet import BoWNet, BoWNetConfig
from tiny import TinyConv, TinyViT, batch_for, begin, given_for

CLOCK = Clock(0, 10)


def made(**settings):
    torch.manual_seed(0)
    given = given_for(BoWNet, TinyConv)
    for teacher in given.teachers.values():
        teacher.double()
    method = BoWNet(given, BoWNetConfig(**{"words": 6} | settings)).double().eval()
    begin(method)
    return method


def test_the_loss_is_the_papers():
    """Equations 1 to 4, one image, view and word at a time."""
    method = made()
    batch = batch_for(method, dtype=torch.float64)
    step = method(batch, CLOCK)
    teacher, total = method.shown.teacher, 0.0
    for b in range(8):
        tokens = nn.functional.normalize(teacher(batch.views["clean"][b]).tokens[0], dim=1)
        bag = [0.0] * 6
        for token in tokens:
            distances = [(token - word).square().sum().item() for word in method.vocabulary]
            bag[distances.index(min(distances))] += 1 / len(tokens)
        assert sum(bag) == pytest.approx(1.0)
        torch.testing.assert_close(method.bag(batch.views["clean"][:, 0])[b].tolist(), bag)
        for v in range(2):
            h = method.backbone(batch.views["global"][b, v][None]).pooled[0]
            scores = torch.stack([method.scale * h @ w / w.norm() for w in method.words])
            total = total - sum(
                p * log for p, log in zip(bag, scores.log_softmax(dim=0), strict=True)
            )
    torch.testing.assert_close(step.total, total / 16)
    assert len(set(method.bag(batch.views["clean"][:, 0]).argmax(dim=1).tolist())) > 1


def test_the_vocabulary_is_found_once_among_one_token_of_every_image():
    method = made()
    assert bool(method.known)
    before = method.vocabulary.clone()
    begin(method, Clock(4, 10, 1, 2))
    assert torch.equal(method.vocabulary, before)
    torch.testing.assert_close(before.norm(dim=1), torch.ones(6).double())
    method.known.fill_(value=False)
    shown = []

    def embed_all(f, *, share=False):
        images = batch_for(method, 1, size=64, dtype=torch.float64).views["clean"][:, 0]
        whole = f({"backbone": images})
        shown.append((images, whole))
        order = torch.arange(64).flip(0)
        assert torch.equal(f({"backbone": images[order]})[order], whole)
        return whole.float()

    method.before_epoch(CLOCK, embed_all)
    [(images, rows)] = shown
    tokens = method._tokens(images)
    places = (tokens - rows[:, None]).abs().sum(dim=2).argmin(dim=1)
    assert torch.equal(tokens[torch.arange(64), places], rows)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(64).double())
    assert len(set(places.tolist())) > 8


def test_only_the_direction_of_a_words_weights_counts():
    method = made()
    batch = batch_for(method, dtype=torch.float64)
    one = method(batch, CLOCK).total
    with torch.no_grad():
        method.words.mul_(torch.rand(6, 1) + 0.5)
    torch.testing.assert_close(method(batch, CLOCK).total, one)


def test_more_words_than_images_are_refused():
    with pytest.raises(UsageError, match=r"65 clusters need as many.* Lower --method\.words\."):
        made(words=65)


def test_the_teacher_stays_as_it_is():
    method = made()
    assert not any(p is q for p in method.parameters() for q in method.shown.teacher.parameters())
    assert isinstance(method.shown.teacher, TinyViT)
