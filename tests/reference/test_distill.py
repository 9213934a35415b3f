"""Distillation against its formulas and against numbers of the authors' code (data/README.md)."""

import copy

import pytest
import torch
import torch.nn.functional as F
from raw import Raw, assert_same, batch_of, gaussian, load

from manyviews.core import Clock, Given
from manyviews.losses.contrastive import unit
from manyviews.losses.distillation import similarity_kl, token_distance
from manyviews.methods.distillation.distill import Distill, DistillConfig
from tiny import TinyConv, TinyViT, batch_for, make_batch

SAVED = load("distill")
CLOSE = {"rtol": 1e-8, "atol": 1e-12}


def kl_by_loops(student, teacher, anchors, temperature, teacher_temperature):
    """sum_k p_k log(p_k / q_k), sample by sample."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        p = torch.stack([(t * a).sum() / teacher_temperature for a in anchors]).exp()
        q = torch.stack([(s * a).sum() / temperature for a in anchors]).exp()
        p, q = p / p.sum(), q / q.sum()
        total = total + (p * (p / q).log()).sum()
    return total / len(student)


def method_of(student=TinyConv, **settings):
    torch.manual_seed(0)
    teacher = TinyViT().requires_grad_(requires_grad=False).eval()
    given = Given({"image": student()}, samples=64, teachers={"teacher": teacher})
    return Distill(given, DistillConfig(**{"queue": 12} | settings)).train()


def test_the_loss_and_its_gradient_are_the_formula():
    student, teacher, anchors = gaussian(0, 4, 5), gaussian(1, 4, 5), gaussian(2, 7, 5)
    ours = similarity_kl(student, teacher, anchors, temperature=0.5, teacher_temperature=0.3)
    expected = kl_by_loops(student, teacher.detach(), anchors.detach(), 0.5, 0.3)
    assert_same(ours, expected, (student,))


def test_a_student_that_agrees_has_no_loss_and_nothing_reaches_teacher_or_anchors():
    student, teacher, anchors = gaussian(0, 4, 5), gaussian(1, 4, 5), gaussian(2, 7, 5)
    same = similarity_kl(teacher, teacher, anchors, temperature=0.2, teacher_temperature=0.2)
    assert same.item() == pytest.approx(0, abs=1e-12)
    loss = similarity_kl(student, teacher, anchors, temperature=0.2, teacher_temperature=0.2)
    loss.backward()
    assert student.grad.any()
    assert teacher.grad is None
    assert anchors.grad is None


def test_three_batches_are_those_of_compress():
    """Its queue holds the teacher's embeddings of earlier batches, the own ones come after."""
    queue = SAVED["compress.queue"].clone()
    for i in range(3):
        teacher = unit(SAVED[f"compress.teacher{i}"])
        student = SAVED[f"compress.student{i}"].requires_grad_()
        loss = similarity_kl(
            unit(student), teacher, queue, temperature=0.04, teacher_temperature=0.04
        )
        (grad,) = torch.autograd.grad(loss, student)
        torch.testing.assert_close(loss.detach(), SAVED[f"compress.loss{i}"], **CLOSE)
        torch.testing.assert_close(grad, SAVED[f"compress.grad{i}"], **CLOSE)
        queue[4 * i : 4 * i + 4] = teacher


def test_a_batch_of_one_has_seeds_gradient_and_its_loss_but_for_the_targets_entropy():
    """With several samples ours also compares with the others of the batch."""
    raw = Raw(5)
    teacher = Raw(5).double().requires_grad_(requires_grad=False).eval()
    given = Given({"image": raw}, teachers={"teacher": teacher})
    config = DistillConfig(dense=0.0, queue=12, temperature=0.2, teacher_temperature=0.05)
    raw.input = teacher.input = TinyViT.input
    method = Distill(given, config).double()
    method.queue.items.copy_(SAVED["seed.queue"])
    with torch.no_grad():
        method.pooled.weight.copy_(torch.eye(5))
        method.pooled.bias.zero_()
    method.shown = Turned(SAVED["seed.teacher"])
    student = SAVED["seed.student"].requires_grad_()
    loss = method(batch_of(student), Clock(0, 1)).total
    (grad,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(grad, SAVED["seed.grad"], **CLOSE)
    entropy = torch.special.entr(SAVED["seed.target"]).sum()
    torch.testing.assert_close(loss.detach() + entropy, SAVED["seed.loss"], **CLOSE)


class Turned:
    """A teacher that always says the same."""

    def __init__(self, said):
        self.said = said

    def __call__(self, x, *, tokens=False):
        return Raw(5)(self.said)


def test_tokens_are_held_together_by_their_cosines():
    student, teacher = gaussian(0, 2, 3, 4), gaussian(1, 2, 3, 4)
    expected = 0.0
    for b in range(2):
        for n in range(3):
            s, t = student[b, n], teacher[b, n].detach()
            expected = expected + (1 - s @ t / (s @ s).sqrt() / (t @ t).sqrt()) / 6
    assert_same(token_distance(student, teacher), expected, (student,))


@pytest.mark.parametrize("anchors", ["queue", "clusters"])
def test_the_whole_loss_is_the_two_terms_by_hand(anchors):
    method = method_of(anchors=anchors, clusters=6, pooled=0.5, dense=2.0)
    if anchors == "clusters":
        method.centroids.copy_(unit(torch.randn(6, 16)))
    batch = make_batch(0, size=5)
    step = method(batch, Clock(0, 1))
    x = batch.views["global"].flatten(0, 1)
    ours, theirs = method.online(x), method.shown.teacher(x)
    z, t = F.normalize(method.pooled(ours.pooled), dim=1), F.normalize(theirs.pooled, dim=1)
    known = method.centroids if anchors == "clusters" else torch.cat([t, method.queue.items])
    expected = 0.5 * kl_by_loops(z, t, known, 0.07, 0.07)
    torch.testing.assert_close(step.losses["similarity"], expected, rtol=1e-4, atol=1e-6)
    mapped = method.dense(ours.tokens)
    cosine = F.cosine_similarity(mapped, theirs.tokens, dim=2).mean()
    torch.testing.assert_close(step.losses["dense"], 2 * (1 - cosine))


def test_embeddings_join_the_queue_after_the_step_that_made_them():
    method, batch = method_of(), make_batch(0, size=2)
    before = method.queue.items.clone()
    step = method(batch, Clock(0, 1))
    assert torch.equal(method.queue.items, before)
    method.after_backward(step, Clock(0, 1))
    said = unit(method.shown.teacher(batch.views["global"].flatten(0, 1)).pooled)
    torch.testing.assert_close(method.queue.items[:4], said)
    assert torch.equal(method.queue.items[4:], before[4:])


def test_clusters_are_found_once_and_come_back_with_a_checkpoint():
    method = method_of(anchors="clusters", clusters=6)
    batch = batch_for(method, 1, size=64)

    def embed_all(f):
        return f({"image": batch.views["global"][:, 0]})

    method.before_epoch(Clock(0, 9), embed_all)
    found = method.centroids.clone()
    torch.testing.assert_close(found.norm(dim=1), torch.ones(6))
    assert len(found.unique(dim=0)) == 6

    def never(f):
        raise AssertionError("the teacher has not changed")

    method.before_epoch(Clock(1, 9), never)
    other = method_of(anchors="clusters", clusters=6)
    other.load_state_dict(method.state_dict())
    other.before_epoch(Clock(1, 9), never)
    assert torch.equal(other.centroids, found)


def test_the_teacher_is_no_part_of_the_method_and_never_trains():
    method = method_of()
    teacher = method.shown.teacher
    before = copy.deepcopy(teacher.state_dict())
    method.train()
    assert not teacher.training
    assert not {id(p) for p in teacher.parameters()} & {id(p) for p in method.parameters()}
    assert not any("teacher" in name or "shown" in name for name in method.state_dict())
    method(make_batch(0), Clock(0, 1)).total.backward()
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())


@pytest.mark.parametrize(("off", "kept"), [("dense", "similarity"), ("pooled", "dense")])
def test_a_term_without_weight_has_no_parts(off, kept):
    method = method_of(**{off: 0.0})
    assert not hasattr(method, off)
    step = method(make_batch(0), Clock(0, 1))
    assert set(step.losses) == {kept}
    method.after_backward(step, Clock(0, 1))
    step.total.backward()
    assert all(p.grad is not None for p in method.parameters())
