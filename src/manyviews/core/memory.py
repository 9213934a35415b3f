"""Memory that a setting asks for, before any of it is taken."""

import os

from manyviews.core.errors import UsageError

_GB = 10**9


def check_memory(rows: int, width: int, *, what: str, advice: str) -> None:
    """Refuse rows of fp32 that are larger than this machine's memory: it would end the process.

    Args:
        rows: how many.
        width: numbers in each.
        what: they are, for the message: "The queue".
        advice: what to do.

    Raises:
        UsageError: they are.
    """
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    wanted = 4 * rows * width
    if wanted > there:
        raise UsageError(
            f"{what} of {rows:,} rows of {width:,} numbers takes {wanted / _GB:,.0f} GB, and this "
            f"machine has {there / _GB:,.0f} GB of memory. {advice}"
        )
