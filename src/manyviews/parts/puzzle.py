"""Tiles of an image that came in random order: back to their cells, and into chosen orders."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_TAKEN = 1 << 30


def in_place(tiles: Tensor, order: Tensor) -> Tensor:
    """[B, V, ...] shuffled tiles -> the same by their cells.

    Args:
        tiles: [B, V, ...].
        order: [B, V] int64: which cell tile v shows.
    """
    return rearranged(tiles, order.argsort(dim=1))


def rearranged(tiles: Tensor, which: Tensor) -> Tensor:
    """[B, V, ...] -> [B, W, ...]: in place w what was in place which[b, w]."""
    rows = torch.arange(len(tiles), device=tiles.device)
    return tiles[rows[:, None], which]


def rank_of(order: Tensor) -> Tensor:
    """[B, V] orders -> [B] int64 in [0, V!): their places in the list of all orders.

    A uniform random order thus is a uniform random number too.
    """
    places = order.shape[1]
    later = torch.ones(places, places, dtype=torch.bool, device=order.device).triu(1)
    smaller = ((order[:, :, None] > order[:, None, :]) & later).sum(dim=2)
    weights = [math.factorial(places - 1 - k) for k in range(places)]
    return (smaller * torch.tensor(weights, device=order.device)).sum(dim=1)


def far_apart(tiles: int, count: int) -> NDArray[np.int64]:
    """[count, tiles]: orders that differ in many places, always the same ones.

    Begins with the order that changes nothing. Each one after that has the greatest mean Hamming
    distance to those before it, the first in the dictionary's order among equals.

    Args:
        tiles: V, up to 10.
        count: of orders, up to V!.

    Source: Noroozi and Favaro 2016, algorithm 1, with the mean for the least distance as in
    facebookresearch/vissl extra_scripts/generate_jigsaw_permutations.py ("max_avg").
    """
    every = _all_orders(tiles)
    columns = [np.ascontiguousarray(column) for column in every.T]
    shared = np.zeros(len(every), dtype=np.int32)  # places in which it agrees with those chosen
    chosen: list[int] = []
    for _ in range(count):
        best = int(shared.argmin())
        chosen.append(best)
        for column in columns:
            shared += column == column[best]
        shared[best] = _TAKEN
    return every[chosen].astype(np.int64)


def _all_orders(tiles: int) -> NDArray[np.int8]:
    """[V!, V], in the dictionary's order."""
    if tiles == 0:
        return np.zeros((1, 0), dtype=np.int8)
    rest = _all_orders(tiles - 1)
    blocks = [np.insert(rest + (rest >= first), 0, first, axis=1) for first in range(tiles)]
    return np.concatenate(blocks).astype(np.int8)
