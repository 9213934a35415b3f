"""A comparison's cells, marks and forms."""

import json
import re

import pytest

from manyviews.reports.table import Cell, Column, Row, Table, candidates, markdown, page

EVIL = '</td><script>alert("x")</script>|**a**'
HIGH = Column(key="knn", title="kNN", group="Labels", says="More is better.", better="high")
LOW = Column(key="error", title="error", group="Labels", says="Less is better.", better="low")
NONE = Column(key="rank", title="rank", group="Shape", says="No direction.", digits=0)


def table(**changes):
    rows = [
        Row(name="raw pixels", cells={"knn": Cell(0.70, 0.68, 0.72)}, trained=False),
        Row(name="a", cells={"knn": Cell(0.88, 0.86, 0.90), "rank": Cell(1524.2)}),
        Row(name="b", cells={"knn": Cell(0.87, 0.85, 0.89), "rank": Cell(3)}, words={"seed": "1"}),
        Row(name="c", cells={"knn": Cell(0.80, 0.78, 0.82)}),
    ]
    whole = {"title": "4 runs", "columns": [HIGH, LOW, NONE], "rows": rows, "notes": ["one note"]}
    return Table(**(whole | changes))


@pytest.mark.parametrize(
    ("cells", "column", "best"),
    [
        ({"a": Cell(3, 2, 4), "b": Cell(2.5, 1, 2.1), "c": Cell(1, 0, 1.9)}, HIGH, {"a", "b"}),
        ({"a": Cell(3, 2, 4), "b": Cell(2.5, 1, 2.1), "c": Cell(1, 0, 1.9)}, LOW, {"b", "c"}),
        ({"a": Cell(3, 2, 4), "b": Cell(1.9), "c": Cell(2.2)}, HIGH, {"a", "c"}),
        ({"a": Cell(3), "b": Cell(2.5, 1, 2.1)}, HIGH, set()),
        ({"a": Cell(3, 2, 4), "b": Cell(2.5, 1, 2.1)}, NONE, set()),
        ({"a": Cell(3, 2, 4), "b": None}, HIGH, set()),
        ({"a": Cell(3, 2, 4), "b": Cell(float("nan"), 0, 9), "c": Cell(1, 0, 1)}, HIGH, {"a"}),
        ({}, HIGH, set()),
    ],
)
def test_what_overlaps_the_best_is_marked_with_it(cells, column, best):
    assert candidates(cells, column) == best


def test_all_forms_mark_the_same_cells():
    whole = table()
    said = whole.to_json()
    marked = {row["name"] for row in said["rows"] if row["measures"]["knn"]["best"]}
    assert marked == {"a", "b"}
    bold = {line.split("|")[1].strip() for line in markdown(whole).splitlines() if "**0." in line}
    green = set(re.findall(r'row">([^<]+)</th>\s*<td class="best"', page(whole)))
    assert marked == bold == green


def test_values_are_shown_with_their_intervals():
    text = markdown(table())
    assert "0.880 (0.860 to 0.900)" in text
    assert "1,524" in text
    lines = [line for line in text.splitlines() if line.startswith("| c ")]
    assert lines == ["| c | 0.800 (0.780 to 0.820) |"]  # no row of dashes under "Shape"


def test_empty_columns_are_left_out():
    assert [column.key for column in table().shown] == ["knn", "rank"]
    assert "error" not in page(table())


def test_hostile_names_stay_text():
    rows = [Row(name=EVIL, cells={"knn": Cell(0.5)}, words={"recipe": EVIL})]
    whole = table(rows=rows, notes=[EVIL], differences=[EVIL], title=EVIL)
    html, text = page(whole), markdown(whole)
    assert "<script>alert" not in html
    assert "<script>alert" not in text
    row = next(line for line in text.splitlines() if line.startswith("| &lt;/td"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert json.loads(json.dumps(whole.to_json()))["rows"][0]["name"] == EVIL


def test_the_page_is_offline_and_can_be_sorted_without_a_mouse():
    html = page(table())
    assert not re.findall(r"(?:src|href|url)\s*[=(]", html)
    heads = re.findall(r'<th [^>]*aria-sort="none"[^>]*><button type="button">', html)
    assert len(heads) == 3  # the run, kNN, rank
    assert len(re.findall(r'data-value="', html)) == 6


def test_differences_stand_on_every_form():
    whole = table(differences=["batch is 8 in a but 16 in b"])
    for text in (markdown(whole), page(whole), json.dumps(whole.to_json())):
        assert "batch is 8 in a but 16 in b" in text
