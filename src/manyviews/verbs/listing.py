"""`manyviews list`: what there is, a line each."""

import inspect
from dataclasses import dataclass
from typing import Any, Literal

from manyviews.verbs.parse import Positional, one_of


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Names, each with a line about it."""

    items: dict[str, str]

    def lines(self) -> list[str]:
        """For people."""
        width = max(map(len, self.items)) + 2
        return [f"{name:<{width}}{line}".rstrip() for name, line in self.items.items()]


def listing(
    what: Positional[Literal["recipes", "methods", "encoders", "protocols"]],
) -> Listed:
    """List what there is, a line each.

    Args:
        what: recipes, methods, encoders or protocols.
    """
    one_of("what", what, ["recipes", "methods", "encoders", "protocols"])
    if what == "protocols":
        from manyviews.evaluation.image.settings import IMAGE_PROTOCOLS
        from manyviews.evaluation.protocols import PROTOCOLS

        items = {n: _first_line(p) for n, p in PROTOCOLS.items()}
        return Listed(items=items | IMAGE_PROTOCOLS)
    if what == "encoders":
        from manyviews import encoders

        return Listed(items=dict.fromkeys(encoders.names(), ""))
    if what == "methods":
        from manyviews.methods import catalog

        methods = {name: entry.method for name, entry in catalog.METHODS.items()}
        return Listed(items={n: _first_line(m) for n, m in methods.items()})
    from manyviews.recipes import RECIPES

    return Listed(items={name: RECIPES.about(name) for name in RECIPES})


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]
