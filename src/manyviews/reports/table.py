"""A table of measured runs: which values are best, as far as their intervals tell, and its forms.

`markdown` and `page` show the same cells; `Table.to_json` holds them all.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

import jinja2


@dataclass(frozen=True)
class Cell:
    """A value of one row, with its 95 % interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """One measure.

    Attributes:
        key: its name for programs.
        title: its name for people.
        group: the heading that it stands under.
        says: what it means, and in which unit.
        better: the direction that is better for every run; None where there is no such direction,
            and then no value of the column is ever marked.
        digits: after the decimal point.
    """

    key: str
    title: str
    group: str
    says: str
    better: Literal["high", "low"] | None = None
    digits: int = 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run, or what stands beside the runs.

    Attributes:
        name: which.
        cells: key of a column -> its value; columns that are missing are empty.
        words: further facts in words: label -> text.
        trained: whether it is a run.
    """

    name: str
    cells: Mapping[str, Cell]
    words: Mapping[str, str] = field(default_factory=dict[str, str])
    trained: bool = True


@dataclass(frozen=True, kw_only=True)
class Table:
    """Runs side by side.

    Attributes:
        title: of the page.
        columns: in order; columns of one group stand together.
        rows: in order.
        differences: what the rows do not share and should, a line each.
        notes: what else has to be known to read the numbers, a line each.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    differences: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def shown(self) -> list[Column]:
        """The columns in which some row has a value."""
        return [c for c in self.columns if any(c.key in row.cells for row in self.rows)]

    @property
    def groups(self) -> dict[str, list[Column]]:
        """Heading -> the columns that are shown under it."""
        found: dict[str, list[Column]] = {}
        for column in self.shown:
            found.setdefault(column.group, []).append(column)
        return found

    @property
    def best(self) -> dict[str, set[str]]:
        """Key of a column -> the rows that may be its best; see `candidates`."""
        return {
            column.key: candidates({r.name: r.cells.get(column.key) for r in self.rows}, column)
            for column in self.shown
        }

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        best = self.best
        rows = [
            {
                "name": row.name,
                "trained": row.trained,
                **row.words,
                "measures": {
                    c.key: asdict(row.cells[c.key]) | {"best": row.name in best[c.key]}
                    for c in self.shown
                    if c.key in row.cells
                },
            }
            for row in self.rows
        ]
        return {
            "title": self.title,
            "differences": list(self.differences),
            "notes": list(self.notes),
            "columns": [asdict(column) for column in self.shown],
            "rows": rows,
        }


def candidates(cells: Mapping[str, Cell | None], column: Column) -> set[str]:
    """The rows that may be a column's best: the best value, and all whose interval reaches its own.

    Where the column has no direction, or the best value no interval, nothing can be told apart
    and no row is named. So it is with a single row.
    """
    there = {name: cell for name, cell in cells.items() if cell and math.isfinite(cell.value)}
    if column.better is None or len(there) < 2:
        return set()
    sign = 1.0 if column.better == "high" else -1.0
    top = max(there.values(), key=lambda cell: sign * cell.value)
    if top.low is None or top.high is None:
        return set()
    found: set[str] = set()
    for name, cell in there.items():
        low = cell.value if cell.low is None else cell.low
        high = cell.value if cell.high is None else cell.high
        if low <= top.high and high >= top.low:
            found.add(name)
    return found


def show(cell: Cell | None, column: Column) -> str:
    """A value with its interval, for people."""
    if cell is None or not math.isfinite(cell.value):
        return "-"
    text = f"{cell.value:,.{column.digits}f}"
    if cell.low is None or cell.high is None:
        return text
    return f"{text} ({cell.low:,.{column.digits}f} to {cell.high:,.{column.digits}f})"


def markdown(table: Table, *, level: int = 2) -> str:
    """A table a group, so that each fits a page; bold is what may be best.

    Args:
        table: what to show.
        level: of the headings.
    """
    best = table.best
    parts = [f"**Not comparable as it stands: {_cell(line)}**" for line in table.differences]
    for group, columns in table.groups.items():
        lines = [
            "| | " + " | ".join(_cell(column.title) for column in columns) + " |",
            "|---|" + "---:|" * len(columns),
        ]
        for row in table.rows:
            if not any(column.key in row.cells for column in columns):
                continue
            shown: list[str] = []
            for column in columns:
                text = show(row.cells.get(column.key), column)
                shown.append(f"**{text}**" if row.name in best[column.key] else text)
            lines.append(f"| {_cell(row.name)} | " + " | ".join(shown) + " |")
        parts.append(f"{'#' * level} {group}\n\n" + "\n".join(lines))
    words = [row for row in table.rows if row.words]
    if words:
        labels = list(dict.fromkeys(label for row in words for label in row.words))
        lines = ["| | " + " | ".join(labels) + " |", "|---|" + "---|" * len(labels)]
        lines += [
            f"| {_cell(row.name)} | "
            + " | ".join(_cell(row.words.get(x, "")) for x in labels)
            + " |"
            for row in words
        ]
        parts.append(f"{'#' * level} Runs\n\n" + "\n".join(lines))
    said = [f"- **{_cell(c.title)}**: {c.says}" for c in table.shown]
    parts.append(f"{'#' * level} What the columns mean\n\n" + "\n".join(said))
    parts.append("\n".join(f"- {_cell(note)}" for note in table.notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def page(table: Table) -> str:
    """One offline HTML page; a click on a heading, or Enter there, sorts by it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    best = table.best
    rows = [
        (
            row,
            [
                (
                    row.cells.get(column.key),
                    show(row.cells.get(column.key), column),
                    row.name in best[column.key],
                )
                for column in table.shown
            ],
        )
        for row in table.rows
    ]
    return environment.get_template("table.html.j2").render(table=table, rows=rows)


def _cell(text: str) -> str:
    """Text that cannot leave its cell, nor become markup where Markdown allows HTML."""
    return escape(" ".join(text.split()), quote=False).replace("|", "\\|")
