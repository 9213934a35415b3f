"""A table of measured runs: which values are best, as far as their intervals tell, and its forms.

`markdown` and `page` show the same cells in the same words; `Table.to_json` holds them all.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

from manyviews.reports.charts import Interval, dot_chart
from manyviews.reports.templates import template

DIFFERS = "Not comparable as it stands: "
HEADINGS = {
    "runs": "Runs",
    "meaning": "What the columns mean",
    "read": "Read this with it",
    "dots": "Values with their 95 % intervals",
}
BETTER, SAME, WORSE = "better than untrained", "no better than untrained", "worse than untrained"


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
        untrained: the row of the same encoder untrained; "" where there is none.
        report: the run's own page; None where there is none.
    """

    name: str
    cells: Mapping[str, Cell]
    words: Mapping[str, str] = field(default_factory=dict[str, str])
    trained: bool = True
    untrained: str = ""
    report: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """Runs side by side.

    Attributes:
        title: of the page.
        columns: in order; columns of one group stand together.
        rows: in order.
        differences: what the rows do not share and should, a line each.
        notes: what else has to be known to read the numbers, a line each.
        paired: key of a column -> two rows that were tested on the same images -> whether that
            test tells them apart. Other rows go by their intervals.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    differences: Sequence[str] = ()
    notes: Sequence[str] = ()
    paired: Mapping[str, Mapping[frozenset[str], bool]] = field(
        default_factory=dict[str, Mapping[frozenset[str], bool]]
    )

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
            column.key: candidates(
                {r.name: r.cells.get(column.key) for r in self.rows},
                column,
                self.paired.get(column.key, {}),
            )
            for column in self.shown
        }

    def against(self, row: Row, column: Column) -> str:
        """How a run does beside the same encoder untrained; "" where that cannot be said."""
        mine = row.cells.get(column.key)
        theirs = {r.name: r.cells.get(column.key) for r in self.rows}.get(row.untrained)
        if column.better is None or mine is None or theirs is None:
            return ""
        told = self.paired.get(column.key, {}).get(frozenset((row.name, row.untrained)))
        if told is None:
            if None in (mine.low, mine.high, theirs.low, theirs.high):
                return ""
            told = not _reaches(mine, theirs)
        if not told or mine.value == theirs.value:
            return SAME
        return BETTER if (mine.value > theirs.value) == (column.better == "high") else WORSE

    def remark(self, row: Row, column: Column) -> str:
        """What a value has to have beside it: that training did not help; mostly ""."""
        against = self.against(row, column)
        return against if against in (SAME, WORSE) else ""

    def text(self, row: Row, column: Column) -> str:
        """A cell for people: the value, its interval and the remark."""
        remark = self.remark(row, column)
        return show(row.cells.get(column.key), column) + (f", {remark}" if remark else "")

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        best = self.best
        rows = [
            {
                "name": row.name,
                "trained": row.trained,
                **row.words,
                "measures": {
                    c.key: asdict(row.cells[c.key])
                    | {"best": row.name in best[c.key], "untrained": self.against(row, c)}
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


def candidates(
    cells: Mapping[str, Cell | None],
    column: Column,
    paired: Mapping[frozenset[str], bool] | None = None,
) -> set[str]:
    """The rows that may be a column's best: the best value, and all that are not told from it.

    By a paired test where there is one, else where the interval reaches that of the best. Where the
    column has no direction, or the best value no interval, nothing can be told apart and no row is
    named. So it is with a single row, and where all of them reach the best.
    """
    there = {name: cell for name, cell in cells.items() if cell and math.isfinite(cell.value)}
    if column.better is None or len(there) < 2:
        return set()
    sign = 1.0 if column.better == "high" else -1.0
    first = max(there, key=lambda name: sign * there[name].value)
    top = there[first]
    if top.low is None or top.high is None:
        return set()
    apart = {
        name: (paired or {}).get(frozenset((first, name)), not _reaches(cell, top))
        for name, cell in there.items()
    }
    found = {name for name in there if name == first or not apart[name]}
    # a column that would mark all of its rows tells none of them apart
    return set() if len(found) == len(there) else found


def _reaches(cell: Cell, top: Cell) -> bool:
    """Whether two intervals overlap; a value without one is its own."""
    low, high = (cell.value if end is None else end for end in (cell.low, cell.high))
    least, most = (top.value if end is None else end for end in (top.low, top.high))
    return low <= most and high >= least


def dots(table: Table) -> dict[str, str]:
    """Title of a column -> its rows as dots with whiskers; of columns that have a direction."""
    found: dict[str, str] = {}
    for column in table.shown:
        rows = {
            row.name: Interval(cell.value, cell.low, cell.high)
            for row in table.rows
            if (cell := row.cells.get(column.key))
            and cell.low is not None
            and cell.high is not None
        }
        if column.better and len(rows) > 1:
            found[column.title] = dot_chart(rows, x=column.title, marked=table.best[column.key])
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
    parts = [f"**{DIFFERS}{_cell(line)}**" for line in table.differences]
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
                text = table.text(row, column)
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
        parts.append(f"{'#' * level} {HEADINGS['runs']}\n\n" + "\n".join(lines))
    said = [f"- **{_cell(c.title)}**: {c.says}" for c in table.shown]
    parts.append(f"{'#' * level} {HEADINGS['meaning']}\n\n" + "\n".join(said))
    if table.notes:
        lines = [f"- {_cell(note)}" for note in table.notes]
        parts.append(f"{'#' * level} {HEADINGS['read']}\n\n" + "\n".join(lines))
    return "\n\n".join(part for part in parts if part) + "\n"


def page(table: Table, *, at: Path | None = None) -> str:
    """One offline HTML page; a click on a heading, or Enter there, sorts by it.

    Args:
        table: what to show.
        at: the folder that it will lie in, from which the runs' reports are linked.
    """
    best = table.best
    rows = [
        (
            row,
            [
                (
                    row.cells.get(column.key),
                    show(row.cells.get(column.key), column),
                    row.name in best[column.key],
                    table.remark(row, column),
                )
                for column in table.shown
            ],
        )
        for row in table.rows
    ]
    links = {
        row.name: os.path.relpath(row.report.resolve(), at.resolve())
        for row in table.rows
        if at and row.report
    }
    return template("table.html.j2").render(
        table=table, rows=rows, links=links, dots=dots(table), differs=DIFFERS, headings=HEADINGS
    )


def _cell(text: str) -> str:
    """Text that cannot leave its cell, nor become markup where Markdown allows HTML."""
    return escape(" ".join(text.split()), quote=False).replace("|", "\\|")
