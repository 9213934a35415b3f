"""Exact weighted nearest neighbours on cosine similarity, as DINO evaluates."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import UsageError
from manyviews.evaluation.result import check_features, check_labels

_BANK_ROWS = 65536  # with 256 queries 64 MB of similarities at a time


def neighbours(bank: Tensor, queries: Tensor, *, k: int, chunk: int = 256) -> tuple[Tensor, Tensor]:
    """The k most similar bank rows of every query, most similar first.

    Args:
        bank: [N, D] float.
        queries: [Q, D] float, on the bank's device.
        k: neighbours of each query, 1 to N.
        chunk: queries compared at a time; bounds memory, changes nothing else but the order of
            exactly equal similarities.

    Returns:
        Cosine similarities [Q, k] float32 and bank rows [Q, k] int64.

    Raises:
        UsageError: k outside 1..N, no features, NaN or infinite features, widths that differ.
    """
    check_features("bank", bank)
    check_features("query", queries)
    if bank.shape[1] != queries.shape[1]:
        raise UsageError(
            f"Bank features have {bank.shape[1]} dimensions, query features {queries.shape[1]}. "
            "Extract both with the same encoder."
        )
    if not 1 <= k <= len(bank):
        raise UsageError(
            f"k is {k}, but the bank holds {len(bank)} labelled examples. "
            f"Set k from 1 to {len(bank)}."
        )
    parts = F.normalize(bank.float(), dim=1).split(_BANK_ROWS)
    found = [_search(parts, F.normalize(q.float(), dim=1), k) for q in queries.split(chunk)]
    return torch.cat([s for s, _ in found]), torch.cat([i for _, i in found])


def vote(similarities: Tensor, labels: Tensor, *, classes: int, temperature: float) -> Tensor:
    """Class scores of each query: its neighbours' exp(similarity / temperature), summed by class.

    Scaled so that the nearest neighbour weighs 1: no temperature overflows, the order of classes
    stays.

    Args:
        similarities: [Q, k] cosines, the largest first.
        labels: [Q, k] int64, the neighbours' classes.
        classes: C.
        temperature: above 0.

    Returns:
        [Q, C] float64.
    """
    weights = ((similarities - similarities[:, :1]).double() / temperature).exp()
    scores = weights.new_zeros(len(weights), classes)
    return scores.scatter_add_(1, labels, weights)


def knn(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    *,
    k: int = 20,
    temperature: float = 0.07,
    chunk: int = 256,
) -> Tensor:
    """Predicted class of every query.

    Source: facebookresearch/dino eval_knn.py (after Wu et al. 2018): L2-normalised features, the
    k nearest by cosine, weights exp(cos / 0.07), largest sum wins.

    Args:
        bank: [N, D] float, features of the labelled examples.
        bank_labels: [N] int64, 0 or more.
        queries: [Q, D] float.
        k: neighbours that vote.
        temperature: smaller listens more to the nearest.
        chunk: queries at a time.

    Returns:
        [Q] int64.

    Raises:
        UsageError: as `neighbours`; labels that do not fit the bank; temperature not above 0.
    """
    check_labels("bank", bank_labels, len(bank))
    if not temperature > 0:
        raise UsageError(f"The kNN temperature is {temperature}; wanted above 0 (DINO: 0.07).")
    similarities, rows = neighbours(bank, queries, k=k, chunk=chunk)
    labels = bank_labels.to(rows.device)
    classes = int(labels.max()) + 1
    predictions = [
        vote(s, labels[i], classes=classes, temperature=temperature).argmax(dim=1)
        for s, i in zip(similarities.split(chunk), rows.split(chunk), strict=True)
    ]
    return torch.cat(predictions)


def _search(parts: tuple[Tensor, ...], queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Running top k over parts of the bank."""
    best, rows, start = queries.new_empty(len(queries), 0), None, 0
    for part in parts:
        values, index = _topk(queries @ part.T, min(k, len(part)))
        index = index + start
        start += len(part)
        if rows is None:
            best, rows = values, index
            continue
        both = torch.cat([best, values], dim=1)
        best, order = both.topk(min(k, both.shape[1]), dim=1)
        rows = torch.cat([rows, index], dim=1).gather(1, order)
    assert rows is not None  # the bank is not empty
    return best, rows


def _topk(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Exact top k of each row of [Q, W], several times faster than torch.topk on wide rows.

    The k largest lie within the k blocks of largest maximum (each block left out has k maxima
    above or equal to all of its elements), and a blockwise maximum runs at memory speed.
    """
    q, width = x.shape
    block = 2 ** round(math.log2(width / k) / 2)
    whole = width // block
    if block < 4:
        return x.topk(k, dim=1)
    # a block is every whole-th column: its maximum is one of rows that lie one after the other
    blocks = x[:, : whole * block].view(q, block, whole)
    top = blocks.amax(dim=1).topk(k, dim=1, sorted=False).indices
    index = (top[:, :, None] + whole * torch.arange(block, device=x.device)).flatten(1)
    tail = torch.arange(whole * block, width, device=x.device).expand(q, -1)
    index = torch.cat([index, tail], dim=1)
    values, order = x.gather(1, index).topk(k, dim=1)
    return values, index.gather(1, order)
