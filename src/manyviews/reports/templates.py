"""Templates of pages, the files *.html.j2 here."""

from collections.abc import Callable
from pathlib import Path

import jinja2


def template(name: str, **filters: Callable[[str], str]) -> jinja2.Template:
    """One by its file's name: it escapes every string, and a name that it lacks is an error.

    Args:
        name: of the file.
        filters: what it may put a string through, by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(name)
