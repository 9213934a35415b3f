"""Packages that are not installed with the rest: what to type to have them."""

import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

from manyviews.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def install(extra: str) -> str:
    """The line that installs an extra's packages, however this one was installed.

    Args:
        extra: of pyproject.toml.
    """
    wanted = metadata.requires("manyviews") or []
    of = re.compile(rf"""extra\s*==\s*['"]{extra}['"]""")
    named = [each.partition(";")[0].strip() for each in wanted if of.search(each)]
    listed = " ".join(f"'{each}'" for each in named) or f"'manyviews[{extra}]'"
    return f"{sys.executable} -m pip install {listed}"


def lacking(what: str, package: str, extra: str) -> UsageError:
    """The error that says that a package is missing, and how to have it.

    Args:
        what: that cannot be done without it.
        package: its name.
        extra: that it is in.
    """
    return UsageError(f"{what} needs the package {package}. Install it: {install(extra)}")


def frame(rows: "Sequence[Mapping[str, Any]]", *, index: str) -> Any:
    """A pandas.DataFrame.

    Args:
        rows: column -> value, of each.
        index: the column that names them.

    Raises:
        UsageError: pandas is not installed.
    """
    try:
        import pandas  # pyright: ignore[reportMissingImports] - an extra
    except ImportError:
        raise lacking("A table for pandas", "pandas", "notebooks") from None
    return pandas.DataFrame(list(rows)).set_index(index)
