"""A page of pictures under headings: what an encoder sees. It asks the network for nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from manyviews.reports.content import Strip
from manyviews.reports.pictures import data_uri

SIDE = 192
"""Pixels of the longer side of a picture."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One heading of the page.

    Attributes:
        heading: of it.
        says: how it is to be read, a paragraph each.
        strips: rows of pictures.
    """

    heading: str
    says: Sequence[str]
    strips: Sequence[Strip]


def panel_page(title: str, panels: Sequence[Panel]) -> str:
    """The page as HTML. Every string from the data is escaped; pictures are inlined."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = {
        panel.heading: [
            [
                (data_uri(picture, side=SIDE), caption)
                for picture, caption in zip(strip.pictures, strip.captions, strict=True)
            ]
            for strip in panel.strips
        ]
        for panel in panels
    }
    return environment.get_template("sight.html.j2").render(title=title, panels=panels, rows=rows)
