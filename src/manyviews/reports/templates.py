"""Templates of pages, the files *.html.j2 here."""

from pathlib import Path

import jinja2


def template(name: str) -> jinja2.Template:
    """One by its file's name: it escapes every string, and a name that it lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
