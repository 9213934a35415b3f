import re
from itertools import pairwise

import pytest

from manyviews.reports.charts import Axis, Interval, Line, dot_chart, line_chart, number, series


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, [0, 5, 10]),
        (0, 1, [0, 0.5, 1.0]),
        (3, 7, [3, 4, 5, 6, 7]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_ticks_are_round_and_inside(low, high, ticks):
    assert Axis(low, high, 0, 100).ticks == pytest.approx(ticks)


def test_a_logarithmic_axis_places_powers_evenly():
    axis = Axis(1e-2, 1e2, 0, 400, log=True)
    assert [axis.place(x) for x in (1e-2, 1, 1e2)] == pytest.approx([0, 200, 400])
    assert axis.ticks == pytest.approx([1e-2, 1e-1, 1, 10, 100])


def test_a_chart_of_one_point_is_no_chart():
    assert line_chart([Line("a", [1], [2])], x="x", y="y") == ""


def test_a_constant_curve_is_drawn():
    assert "<polyline" in line_chart([Line("a", [1, 2], [0.0, 0.0])], x="x", y="y")


def test_long_curves_are_thinned_and_keep_their_end():
    line = Line("a", list(range(10_000)), list(range(10_000)))
    svg = line_chart([line], x="x", y="y")
    points = svg.split('points="')[1].split('"')[0].split()
    assert len(points) <= 601
    assert points[-1] == "440.0,14.0"


def test_names_are_escaped():
    assert "<b>" not in line_chart([Line("<b>", [0, 1], [0, 1])] * 2, x="<b>", y="<b>")


def test_a_series_takes_the_records_that_have_both():
    line = series([{"step": 1, "a": 2}, {"step": 2}, {"a": 3}, {"step": 4, "a": None}], "a")
    assert (line.x, line.y) == ([1.0], [2.0])


def test_long_names_that_begin_alike_are_still_told_apart():
    names = [f"untrained resnet_small, as run{i} sees images" for i in (1, 2)] + ["raw pixels"]
    rows = {name: Interval(0.5, 0.4, 0.6) for name in names}
    chart = dot_chart(rows, x="kNN", marked=set())
    shown = re.findall(r"<text[^>]*>([^<]+)</text>", chart)
    assert "raw pixels" in shown
    long = [text for text in shown if "…" in text]
    assert long == ["untra…run1 sees images", "untra…run2 sees images"]
    assert all(len(text) == 22 for text in long)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00012, "1e-04"), (25_000, "25k"), (3.14159, "3.142"), (-2.5, "-2.5")],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_few_points_are_dots_that_say_their_values_and_many_are_none():
    few = line_chart([Line("a", [100, 200], [0.5, 0.25])], x="step", y="loss")
    assert few.count("<circle") == 2
    assert "<title>100: 0.5</title>" in few
    many = line_chart([Line("a", list(range(13)), list(range(13)))], x="step", y="loss")
    assert "<circle" not in many


def test_a_line_that_is_alone_has_its_first_and_last_value_beside_it():
    alone = line_chart([Line("a", [0, 1, 2], [7.25, 5.0, 3.125])], x="step", y="loss")
    assert [t for t in ("7.25", "3.125") if f">{t}</text>" in alone] == ["7.25", "3.125"]
    two = line_chart([Line(n, [0, 1, 2], [7.25, 5.0, 3.125]) for n in "ab"], x="step", y="loss")
    assert ">7.25</text>" not in two


def test_a_logarithmic_axis_is_never_left_with_one_number():
    assert len(Axis(3e-4, 7e-4, 0, 1, log=True).ticks) == 2
    assert len(Axis(5e-5, 5e-4, 0, 1, log=True).ticks) == 3
    assert Axis(1e-3, 1.0, 0, 1, log=True).ticks == [1e-3, 1e-2, 1e-1, 1.0]


def test_where_points_are_many_pointing_says_what_every_line_is_there():
    steps = list(range(0, 1000, 5))
    lines = [Line("a", steps, [2.0 * s for s in steps]), Line("b", [0, 995], [1.0, 3.0])]
    chart = line_chart(lines, x="step", y="loss")
    said = re.findall(
        r'<rect x="([\d.]+)"[^>]* width="([\d.]+)"[^>]*><title>([^<]+)</title>', chart
    )
    assert 20 <= len(said) <= 41
    assert said[1][2] == "step 25: a 50, b 1"
    edges = [(float(x), float(x) + float(width)) for x, width, _ in said]
    assert all(a[1] == pytest.approx(b[0], abs=0.2) for a, b in pairwise(edges))
    few = line_chart([Line("a", [100, 200], [0.5, 0.25])], x="step", y="loss")
    assert "<rect" not in few
