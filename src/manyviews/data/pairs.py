"""Pairs of samples: some views of a sample are those of another one of its group.

Which one is a pure function of (seed, epoch, sample), and which views of which family are its are
one of the plan: view v of a sample is then view v of the other, as that would have it by itself.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.sample import Source
from manyviews.data.groups import values
from manyviews.data.order import hashed
from manyviews.data.settings import Positives

if TYPE_CHECKING:
    from manyviews.data.micro_batch import Makes

SomeViews = Mapping[str, NDArray[np.int64]]
"""Family -> [K] int64, numbers of some of its views."""


class Partners:
    """Another sample of the group of each, drawn uniformly and anew in every epoch.

    Attributes:
        alone: samples without another in their group.
        alike: samples whose group has others, but none that differs.
        groups: of two samples or more.
    """

    def __init__(self, group: NDArray[np.int64], nuisance: NDArray[np.int64], *, seed: int) -> None:
        """Sort the samples.

        Args:
            group: [N] int64.
            nuisance: [N] int64, in which the two of a pair differ; of no two samples the same
                where they may differ in nothing.
            seed: of the run.
        """
        self._seed = seed
        # Samples of a group lie together, and in it those of one nuisance: whoever may be drawn is
        # a range less a range.
        self._order = np.lexsort((nuisance, group))
        self._first, self._count = _runs(self._order, group)
        both = np.stack((group, nuisance), axis=1)
        self._own_first, self._own_count = _runs(self._order, both)
        one, none = self._count == 1, self._count == self._own_count
        self.alone, self.alike = int(one.sum()), int((none & ~one).sum())
        self.groups = len(np.unique(group[~one]))

    def __call__(self, index: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """[B] int64: the other one of each of these samples; itself where there is none."""
        first, own = self._first[index], self._own_first[index]
        many = self._count[index] - self._own_count[index]
        chosen = first + (hashed(index, seed=self._seed, epoch=epoch) * many).astype(np.int64)
        chosen = np.where(chosen >= own, chosen + self._own_count[index], chosen)
        return np.where(many > 0, self._order[np.minimum(chosen, len(self._order) - 1)], index)


def _runs(
    order: NDArray[np.int64], keys: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[N] and [N]: where in the order the run of each sample's key begins, and how long it is."""
    ranked = keys[order].reshape(len(order), -1)
    changes = np.flatnonzero((ranked[1:] != ranked[:-1]).any(axis=1)) + 1
    begins = np.concatenate(([0], changes))
    lengths = np.diff(begins, append=len(order))
    first, count = np.empty_like(order), np.empty_like(order)
    first[order], count[order] = np.repeat(begins, lengths), np.repeat(lengths, lengths)
    return first, count


def fingerprint(source: Source, wanted: Positives) -> str:
    """A hash of what groups samples; "" where nothing does.

    Raises:
        UsageError: there is no such column.
    """
    if not wanted.group:
        return ""
    told = [values(source, wanted.group, flag="--views.group")]
    if wanted.differ:
        told.append(values(source, wanted.differ, flag="--views.differ"))
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def find(source: Source, wanted: Positives, *, seed: int) -> tuple[Partners, str]:
    """The partners of all samples, and a line that says how many have none.

    Raises:
        UsageError: there is no such column, or it makes no pairs.
    """
    flag, other = "--views.group", "--views.differ"
    found = values(source, wanted.group, flag=flag)
    nuisance = values(source, wanted.differ, flag=other) if wanted.differ else []
    count = len(found)
    group, shared = _numbered(found), len(set(found) - {""})
    if shared == 1 and "" not in found:
        raise UsageError(
            f"{flag} {wanted.group}: all {count:,} samples are of one group, so nothing would be "
            "told apart. Give a column with several values."
        )
    apart = np.arange(count)
    if nuisance:
        apart = _numbered(nuisance)
        unknown = np.array([not value for value in nuisance])  # it could be the same as any
        group[unknown] = group.max() + 1 + np.arange(unknown.sum())
    partners = Partners(group, apart, seed=seed)
    if partners.alone == count:
        raise UsageError(
            f"{flag} {wanted.group}: every sample is alone in its group ({shared:,} values for "
            f"{count:,} samples). Give a column whose values several samples share."
        )
    if partners.alone + partners.alike == count:
        raise UsageError(
            f"{other} {wanted.differ}: no two samples of one group differ in it. Leave it out, or "
            "give another column."
        )
    said = f"{wanted.group}: {partners.groups:,} groups of {count:,} samples"
    if partners.alone:
        said += f"; {partners.alone:,} samples are alone in theirs"
    if partners.alike:
        said += f"; {partners.alike:,} have none in theirs that differs in {wanted.differ}"
    lacking = partners.alone + partners.alike
    return partners, said + (", and are paired with themselves" if lacking else "")


def _numbered(found: list[str]) -> NDArray[np.int64]:
    """[N] int64, the same for equal values; each sample without one has its own."""
    numbers = np.unique(np.array(found, dtype=object).astype(str), return_inverse=True)[1]
    numbers = numbers.astype(np.int64).reshape(-1)
    unknown = np.array([not value for value in found])
    numbers[unknown] = numbers.max() + 1 + np.arange(unknown.sum())
    return numbers


@dataclass(frozen=True)
class Pairs:
    """Who makes which views of a pair.

    Attributes:
        partners: whose views a sample has beside its own.
        own, other: make a sample's own views, and those of its partner.
        theirs: the views of the latter.
        digest: of what groups the samples.
    """

    partners: Partners
    own: "Makes"
    other: "Makes"
    theirs: SomeViews
    digest: str = ""


def halves(
    counts: Mapping[str, int], around: Mapping[str, str], whole: Collection[str]
) -> tuple[SomeViews, SomeViews]:
    """Which views are a sample's own, and which its partner's: by turns, over all families.

    Args:
        counts: family -> its views, the families around which others are cut before these.
        around: family -> the one that it is cut around, whose turns it takes, or "".
        whole: families of which all views are of one sample.
    """
    turns: dict[str, NDArray[np.int64]] = {}
    turn = 0
    for name, count in counts.items():
        if around[name]:
            turns[name] = turns[around[name]][:count]
            continue
        many = 1 if name in whole else count
        turns[name] = np.broadcast_to((turn + np.arange(many)) % 2, (count,))
        turn += many
    own, theirs = (
        {name: np.flatnonzero(of == side) for name, of in turns.items()} for side in (0, 1)
    )
    return own, theirs
