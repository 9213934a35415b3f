"""A comparison's cells, marks and forms."""

import json
import re

import pytest

from manyviews.reports.table import (
    DIFFERS,
    HEADINGS,
    SAME,
    WORSE,
    Cell,
    Column,
    Row,
    Table,
    candidates,
    dots,
    markdown,
    page,
)

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
        ({"a": Cell(3, 2, 4), "b": Cell(2.5, 1, 2.1)}, HIGH, set()),  # neither stands out
    ],
)
def test_what_overlaps_the_best_is_marked_with_it(cells, column, best):
    assert candidates(cells, column) == best


def test_rows_of_the_same_images_are_told_apart_by_them_and_not_by_their_intervals():
    cells = {"a": Cell(3, 2, 4), "b": Cell(2.5, 1.5, 3.5), "c": Cell(1, 0, 1.9)}
    assert candidates(cells, HIGH) == {"a", "b"}
    ab, ac = frozenset("ab"), frozenset("ac")
    assert candidates(cells, HIGH, {ab: True}) == {"a"}
    assert candidates(cells, HIGH, {ab: True, ac: False}) == {"a", "c"}
    assert candidates(cells, HIGH, {ab: False, ac: False}) == set()  # separates nothing


def trained(value, told, column=HIGH, theirs=0.80):
    rows = [
        Row(name="start", cells={"knn": Cell(theirs, theirs - 0.1, theirs + 0.1)}, trained=False),
        Row(name="run", cells={"knn": Cell(value, value - 0.1, value + 0.1)}, untrained="start"),
    ]
    made = {} if told is None else {"knn": {frozenset(("run", "start")): told}}
    return Table(title="t", columns=[column], rows=rows, paired=made)


@pytest.mark.parametrize(
    ("value", "told", "words"),
    [
        (0.85, True, ""),
        (0.85, False, SAME),
        (0.75, True, WORSE),
        (0.85, None, SAME),  # by their intervals
        (1.10, None, ""),
        (0.55, None, WORSE),
        (0.80, True, SAME),
    ],
)
def test_a_run_that_is_no_better_than_untrained_says_so_in_all_forms(value, told, words):
    whole = trained(value, told)
    [line] = [line for line in markdown(whole).splitlines() if line.startswith("| run")]
    [found] = [row["measures"]["knn"] for row in whole.to_json()["rows"] if row["trained"]]
    if words:
        assert line.count(words) == page(whole).count(words) == 1
        assert found["untrained"] == words
    else:
        assert found["untrained"] == "better than untrained"
        assert "untrained" not in line + page(whole)
    rest = [row for row in whole.to_json()["rows"] if not row["trained"]]
    assert rest[0]["measures"]["knn"]["untrained"] == ""


def test_less_is_better_beside_untrained_too():
    low = Column(key="knn", title="error", group="Labels", says="-", better="low")
    assert (
        trained(0.85, told=True, column=low).remark(trained(0.85, told=True).rows[1], low) == WORSE
    )


def test_every_form_has_the_same_words():
    whole = table(differences=["batch is 8 in a but 16 in b"])
    text, html = markdown(whole), page(whole)
    said = [DIFFERS + whole.differences[0], *whole.notes, *(c.says for c in whole.shown)]
    said += [HEADINGS[name] for name in ("runs", "meaning", "read")]
    assert [words for words in said if words not in text or words not in html] == []


def test_dots_are_at_their_values_and_whiskers_at_the_ends_of_the_intervals():
    [(title, chart)] = dots(table()).items()
    assert title == "kNN"
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', chart)]
    values = [0.70, 0.88, 0.87, 0.80]
    assert len(places) == 4
    scale = (places[1] - places[0]) / (values[1] - values[0])
    for place, value in zip(places, values, strict=True):
        assert place == pytest.approx(places[0] + scale * (value - values[0]), abs=0.2)
    for place, (low, high) in zip(
        places, re.findall(r'd="M([\d.]+) [\d.]+H([\d.]+)M', chart), strict=True
    ):
        assert float(high) - place == pytest.approx(0.02 * scale, abs=0.2)
        assert place - float(low) == pytest.approx(0.02 * scale, abs=0.2)
    assert re.findall(r'class="(dot[ \w]*)"><title>(\w+)', chart) == [
        ("dot", "raw"),
        ("dot best", "a"),
        ("dot best", "b"),
        ("dot", "c"),
    ]
    assert "<title>a: 0.880 (0.860 to 0.900)</title>" in chart


def test_a_run_links_its_report_from_where_the_page_lies(tmp_path):
    rows = [Row(name="a", cells={"knn": Cell(0.5)}, report=tmp_path / "runs" / "a" / "report.html")]
    assert 'href="../runs/a/report.html"' in page(table(rows=rows), at=tmp_path / "out")
    assert "href" not in page(table(rows=rows))
    assert str(tmp_path) not in json.dumps(table(rows=rows).to_json())


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
