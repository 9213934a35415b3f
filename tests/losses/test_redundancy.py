"""Both ways of summing squares of a product give one number and one gradient."""

import pytest
import torch

from manyviews.losses.redundancy import barlow_twins, covariance

WIDE, TALL = (4, 64), (64, 6)  # more dimensions than samples, and the reverse


def pair(shape):
    generator = torch.Generator().manual_seed(0)
    made = (torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(2))
    a, b = (x * 2 + 1 for x in made)
    return a.requires_grad_(), (b + a.detach()).requires_grad_()


def plain_barlow(a, b):
    a, b = ((x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt() for x in (a, b))
    c = a.T @ b / len(a)
    off = c - torch.diag(c.diagonal())
    return ((1 - c.diagonal()) ** 2).sum() + 0.1 * (off**2).sum()


def plain_covariance(a, b):
    def one(z):
        c = torch.cov(z.T)
        return ((c - torch.diag(c.diagonal())) ** 2).sum() / len(c)

    return one(a) + 3 * one(b)


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["wide", "tall"])
@pytest.mark.parametrize(
    ("mine", "plain"),
    [
        (lambda a, b: barlow_twins(a, b, off_diagonal=0.1), plain_barlow),
        (lambda a, b: covariance(a) + 3 * covariance(b), plain_covariance),
    ],
    ids=["barlow", "covariance"],
)
def test_loss_and_gradients_are_those_of_the_whole_matrix(mine, plain, shape):
    a, b = pair(shape)
    mine, plain = mine(a, b), plain(a, b)
    torch.testing.assert_close(mine, plain, rtol=1e-9, atol=0)
    for got, wanted in zip(
        torch.autograd.grad(mine, (a, b)), torch.autograd.grad(plain, (a, b)), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "loss",
    [lambda a, b: barlow_twins(a, b, off_diagonal=0.1), lambda a, _: covariance(a)],
    ids=["barlow", "covariance"],
)
def test_a_wide_batch_makes_no_matrix_of_all_dimensions(loss):
    a, b = (x.detach().float() for x in pair((4, 5000)))
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        loss(a, b)
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest < 5000 * 5000 * 4 / 10


@pytest.mark.parametrize(
    ("loss", "count"),
    [(lambda a, b: barlow_twins(a, b, off_diagonal=0.1), 2), (lambda a, _: covariance(a), 1)],
    ids=["barlow", "covariance"],
)
def test_a_wide_batch_costs_two_products_for_a_view(loss, count):
    a, b = (x.detach().requires_grad_() for x in pair(WIDE))
    with torch.profiler.profile(acc_events=True) as profile:
        loss(a, b).backward()
    assert sum(event.name == "aten::mm" for event in profile.events()) == 2 * count


def test_gradients_can_be_derived_again():
    a, b = pair((3, 20))
    torch.autograd.gradgradcheck(lambda a, b: barlow_twins(a, b, off_diagonal=0.1), (a, b))
