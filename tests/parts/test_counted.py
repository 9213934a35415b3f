"""Random numbers that are functions of what is counted."""

import torch

from manyviews.parts.counted import GOLDEN, hashed, mixed, words
from manyviews.parts.noise import uniform

PUBLISHED = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
"""What SplittableRandom with seed 0 gives first, without its sign."""


def unsigned(x):
    return [int(each) % 2**64 for each in x]


def test_the_numbers_are_those_of_splitmix64():
    states = GOLDEN * torch.arange(4)
    assert unsigned(mixed(states[:3])) == PUBLISHED
    assert unsigned(hashed(states[1:])) == PUBLISHED
    assert words(torch.tensor(0), 3).tolist() == [number % 2**63 for number in PUBLISHED]


def by_hand(x):
    """splitmix64's hash in Python's integers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def test_noise_is_the_upper_bits_of_splitmix64_by_sample_and_step():
    golden, step, salt = GOLDEN % 2**64, 5, -3
    got = uniform(torch.tensor([0, 7]), step, (2,), salt=torch.tensor(salt))
    for row, sample in zip(got, (0, 7), strict=True):
        key = by_hand((by_hand((sample + salt) % 2**64) + step * golden) % 2**64)
        wanted = [by_hand((key + count * golden) % 2**64) >> 41 for count in (1, 2)]
        assert [(number + 0.5) / 2**23 for number in wanted] == row.tolist()
