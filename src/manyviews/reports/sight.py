"""A page of pictures under headings: what an encoder sees. It asks the network for nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from manyviews.reports.content import Strip
from manyviews.reports.pictures import data_uri
from manyviews.reports.templates import template

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
    return template("sight.html.j2").render(title=title, panels=panels, rows=rows)
