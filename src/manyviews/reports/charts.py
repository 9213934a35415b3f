"""Line charts as inline SVG: no script, no library, readable on a phone and on paper."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

COLOURS = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#64748b")
WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 66, 20, 14, 40
_FEW = 12
"""Points of a line, up to which each is drawn as a dot."""
_SIZE = 13
"""Of text, in units of the picture."""
_STRIPS = 40
"""Places along a line of many points at which its values are said."""
_LONG = 22
"""Characters of a row's name that fit beside its dot."""


@dataclass(frozen=True)
class Line:
    """One named curve; points that are not finite are left out."""

    name: str
    x: Sequence[float]
    y: Sequence[float]

    @property
    def points(self) -> list[tuple[float, float]]:
        """The finite points, in order."""
        pairs = zip(self.x, self.y, strict=True)
        return [(x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]


@dataclass(frozen=True)
class Axis:
    """Maps values to pixels along one side of a chart."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """The pixel of a value."""
        low, high, at = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round values inside the range: powers of ten, or steps of 1, 2 or 5."""
        if self.log:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            step = max(1, math.ceil(len(powers) / 6))
            if len(powers) > 1:
                return [10.0**power for power in powers][::step]
            # less than two powers of ten: the range's own ends say how large values are
            return [self.low, *(10.0**power for power in powers), self.high]
        rough = (self.high - self.low) / 4
        power = 10 ** math.floor(math.log10(rough))
        step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def line_chart(lines: Sequence[Line], *, x: str, y: str, log: bool = False) -> Markup:
    """Draw the lines over a common pair of axes.

    Args:
        lines: what to draw; lines without two finite points are left out.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        log: a logarithmic vertical axis; values of 0 and below are left out.

    Returns:
        An `<svg>` element, or an empty string when there is nothing to draw.
    """
    drawn = {line.name: _positive(line.points) if log else line.points for line in lines}
    drawn = {name: points for name, points in drawn.items() if len(points) > 1}
    if not drawn:
        return Markup("")
    every = [point for points in drawn.values() for point in points]
    across = _axis([p[0] for p in every], LEFT, WIDTH - RIGHT, log=False)
    up = _axis([p[1] for p in every], HEIGHT - BOTTOM, TOP, log=log)
    label = escape(f"{y} over {x}: {', '.join(drawn)}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{label}" class="chart" font-size="{_SIZE}">',
        *_grid(across, up, x=x, y=y),
    ]
    for colour, points in zip(_colours(len(drawn)), drawn.values(), strict=True):
        path = " ".join(f"{across.place(a):.1f},{up.place(b):.1f}" for a, b in _thin(points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        parts += _dots(points, across, up, colour)
        if len(drawn) == 1:
            parts += _ends(points, across, up)
    if max(map(len, drawn.values())) > _FEW:
        parts += _values(drawn, across, x)
    parts.append("</svg>")
    if len(drawn) > 1:
        parts.append(_legend(list(drawn)))
    return Markup("".join(parts))


def _shortened(name: str) -> str:
    """A name that fits: of a long one mostly the end, in which rows tend to differ."""
    return name if len(name) <= _LONG else f"{name[:5]}…{name[6 - _LONG :]}"


def _dots(
    points: Sequence[tuple[float, float]], across: Axis, up: Axis, colour: str
) -> Iterator[str]:
    """Where points are few, each of them, with its values on pointing."""
    for a, b in points if len(points) <= _FEW else ():
        yield (
            f'<circle cx="{across.place(a):.1f}" cy="{up.place(b):.1f}" r="3" fill="{colour}">'
            f"<title>{number(a)}: {number(b)}</title></circle>"
        )


def _values(
    drawn: Mapping[str, Sequence[tuple[float, float]]], across: Axis, x: str
) -> Iterator[str]:
    """Where points are many, strips that say on pointing what the lines are there."""
    longest = max(drawn.values(), key=len)
    chosen = longest[:: math.ceil(len(longest) / _STRIPS)]
    for i, (at, _) in enumerate(chosen):
        here = across.place(at)
        left = (across.place(chosen[i - 1][0]) + here) / 2 if i else LEFT
        right = (
            WIDTH - RIGHT if at == chosen[-1][0] else (across.place(chosen[i + 1][0]) + here) / 2
        )
        nearest = {n: min(points, key=lambda p: abs(p[0] - at))[1] for n, points in drawn.items()}
        said = ", ".join(f"{name} {number(value)}" for name, value in nearest.items())
        yield (
            f'<rect x="{left:.1f}" y="{TOP}" width="{max(0.0, right - left):.1f}" '
            f'height="{HEIGHT - BOTTOM - TOP}" fill="transparent"><title>{escape(x)} {number(at)}: '
            f"{escape(said)}</title></rect>"
        )


def _ends(points: Sequence[tuple[float, float]], across: Axis, up: Axis) -> Iterator[str]:
    """The first and the last value of a line that is alone, beside its ends."""
    for (a, b), anchor in ((points[0], "start"), (points[-1], "end")):
        above = up.place(b) > TOP + 20
        at = up.place(b) + (-7 if above else 16)
        yield _text(number(b), across.place(a), at, anchor=anchor, more='class="end"')


@dataclass(frozen=True)
class Interval:
    """A value between the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def bar_chart(
    bars: Mapping[str, Mapping[str, Interval]], *, x: str, mark: float | None = None
) -> Markup:
    """Horizontal bars from 0, those of one name together, each with its interval.

    Args:
        bars: name of a colour -> name of a bar -> its value, 0 or more.
        x: label of the axis.
        mark: where to draw a dashed line, for what values are compared with.

    Returns:
        An `<svg>` element and what the colours are of, or an empty string when there is nothing to
        draw.
    """
    names = list(dict.fromkeys(name for group in bars.values() for name in group))
    values = [bar for group in bars.values() for bar in group.values() if math.isfinite(bar.value)]
    if not values:
        return Markup("")
    thick, left = 11, 130
    step = thick * len(bars) + 12
    height = TOP + step * len(names) + BOTTOM
    high = max([bar.high for bar in values if math.isfinite(bar.high)] + [mark or 0.0, 1e-9])
    across = Axis(0.0, high, left, WIDTH - RIGHT)
    label = escape(f"{x}, of {', '.join(bars)}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{label}" class="chart" font-size="{_SIZE}">'
    ]
    floor = height - BOTTOM
    for tick in across.ticks:
        at = f"{across.place(tick):.1f}"
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{floor}"/>')
        parts.append(_text(number(tick), across.place(tick), floor + 16))
    for row, name in enumerate(names):
        top = TOP + row * step + 6
        parts.append(_text(name, left - 8, top + thick * len(bars) / 2 + 4, anchor="end"))
        for place, (colour, group) in enumerate(
            zip(_colours(len(bars)), bars.values(), strict=True)
        ):
            if name in group and math.isfinite(group[name].value):
                parts.append(_bar(group[name], across, top + place * thick, thick - 2, colour))
    if mark is not None:
        at = f"{across.place(mark):.1f}"
        parts.append(
            f'<line x1="{at}" x2="{at}" y1="{TOP}" y2="{floor}" stroke="currentColor" '
            'stroke-dasharray="4 4" opacity="0.6"/>'
        )
    parts.append(_text(x, (left + WIDTH - RIGHT) / 2, height - 4))
    parts.append("</svg>")
    parts.append(_legend(list(bars)))
    return Markup("".join(parts))


def dot_chart(rows: Mapping[str, Interval], *, x: str, marked: Collection[str] = ()) -> Markup:
    """A dot a row, with a whisker as long as its interval, those of `marked` filled.

    Args:
        rows: name -> its value.
        x: label of the axis.
        marked: names.

    Returns:
        An `<svg>` element, or an empty string when there is nothing to draw.
    """
    there = {name: row for name, row in rows.items() if math.isfinite(row.value)}
    if not there:
        return Markup("")
    step, left, floor = 24, 190, TOP + 24 * len(there)
    ends = [end for row in there.values() for end in (row.low, row.value, row.high)]
    across = _axis([end for end in ends if math.isfinite(end)], left, WIDTH - RIGHT, log=False)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {floor + BOTTOM}" '
        f'role="img" aria-label="{escape(x)}, of {escape(", ".join(there))}" class="chart" '
        f'font-size="{_SIZE}">'
    ]
    for tick in across.ticks:
        at = f"{across.place(tick):.1f}"
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{floor}"/>')
        parts.append(_text(number(tick), across.place(tick), floor + 16))
    for i, (name, row) in enumerate(there.items()):
        y, low, high = TOP + step * (i + 0.5), across.place(row.low), across.place(row.high)
        said = f"{name}: {row.value:.3f} ({row.low:.3f} to {row.high:.3f})"
        parts.append(_text(_shortened(name), left - 10, y + 4, anchor="end"))
        parts.append(
            f'<g class="{"dot best" if name in marked else "dot"}"><title>{escape(said)}</title>'
            f'<path d="M{low:.1f} {y:.1f}H{high:.1f}M{low:.1f} {y - 4:.1f}v8M{high:.1f} '
            f'{y - 4:.1f}v8" fill="none"/><circle cx="{across.place(row.value):.1f}" '
            f'cy="{y:.1f}" r="5"/></g>'
        )
    parts.append(_text(x, (left + WIDTH - RIGHT) / 2, floor + BOTTOM - 4))
    parts.append("</svg>")
    return Markup("".join(parts))


def _bar(bar: Interval, across: Axis, top: float, thick: int, colour: str) -> str:
    zero, end = across.place(0.0), across.place(bar.value)
    said = f"{bar.value:.3f} ({bar.low:.3f} to {bar.high:.3f})"
    drawn = (
        f'<rect x="{zero:.1f}" y="{top:.1f}" width="{max(0.0, end - zero):.1f}" height="{thick}" '
        f'fill="{colour}"><title>{said}</title></rect>'
    )
    if math.isfinite(bar.low) and math.isfinite(bar.high):
        low, high, middle = across.place(bar.low), across.place(bar.high), top + thick / 2
        drawn += (
            f'<path d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 3:.1f}v6'
            f'M{high:.1f} {middle - 3:.1f}v6" stroke="currentColor" fill="none"/>'
        )
    return drawn


def series(records: Sequence[Mapping[str, float]], key: str, *, x: str = "step") -> Line:
    """The values under `key` over those under `x`, of the records that have both.

    Numbers that were not finite are null in metrics.jsonl, and so left out.
    """
    having = [r for r in records if r.get(key) is not None and r.get(x) is not None]
    return Line(key, [float(r[x]) for r in having], [float(r[key]) for r in having])


def number(value: float) -> str:
    """A short form for labels: 0.0012, 25k, 3e-07."""
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e7):
        return f"{value:.0e}"
    if size >= 1e4:
        return f"{value / 1000:g}k"
    return f"{value:.4g}"


def _positive(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if y > 0]


def _axis(values: list[float], start: float, end: float, *, log: bool) -> Axis:
    low, high = min(values), max(values)
    if log:
        low, high = low / 1.2, high * 1.2
    elif low == high:
        low, high = low - (abs(low) or 1) * 0.05, high + (abs(high) or 1) * 0.05
    return Axis(low, high, start, end, log)


def _grid(across: Axis, up: Axis, *, x: str, y: str) -> list[str]:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    middle = (TOP + floor) / 2
    turned = f'transform="rotate(-90 12 {middle})"'
    parts: list[str] = []
    for tick in up.ticks:
        at = up.place(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(_text(number(tick), LEFT - 6, at + 4, anchor="end"))
    parts += [_text(number(tick), across.place(tick), floor + 16) for tick in across.ticks]
    parts.append(_text(x, (LEFT + right) / 2, HEIGHT - 4))
    parts.append(_text(y, 12, middle, more=turned))
    return parts


def _text(text: str, x: float, y: float, *, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


def _legend(names: list[str]) -> str:
    items = (
        f'<span><i style="background:{colour}"></i>{escape(name)}</span>'
        for colour, name in zip(_colours(len(names)), names, strict=True)
    )
    return f'<div class="legend">{"".join(items)}</div>'


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def _thin(points: list[tuple[float, float]], most: int = 600) -> list[tuple[float, float]]:
    """At most `most` points, the last one kept: a page must stay small."""
    step = max(1, math.ceil(len(points) / most))
    return points[::step] + ([points[-1]] if (len(points) - 1) % step else [])
