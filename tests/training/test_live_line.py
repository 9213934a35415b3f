import io

from rich.console import Console

from manyviews.training import live_line
from manyviews.training.live_line import LiveLine, Reading, clock_time

READING = Reading(
    done=0.25,
    step=50,
    epoch=2,
    loss=1.23456,
    lr=0.03,
    speed=812.3,
    wait=0.04,
    left=3725,
    health=2,
)


def shown(*, terminal):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=200, color_system=None)
    with LiveLine(console=console) as line:
        line.show(READING)
    return out.getvalue()


def test_the_line_says_how_it_goes():
    for terminal in (True, False):
        text = shown(terminal=terminal)
        for part in (
            "25.0 %",
            "step 50",
            "loss 1.2346",
            "lr 3.00e-02",
            "812 samples/s",
            "waiting for data 4 %",
            "1:02:05 left",
            "ALARM",
        ):
            assert part in text, part
    assert "●" in shown(terminal=True)


def test_a_terminal_shows_that_the_first_step_has_begun():
    out = io.StringIO()
    with LiveLine(console=Console(file=out, force_terminal=True, width=200)):
        assert "the first step ..." in out.getvalue()


def test_without_a_terminal_lines_become_rare(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(live_line.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    with LiveLine(console=Console(file=out, force_terminal=False, width=200)) as line:
        for _ in range(10 * 60):
            now[0] += 1.0
            if line.due():
                line.show(READING)
    assert "\x1b" not in out.getvalue()
    assert 10 <= len(out.getvalue().splitlines()) <= 20


def test_a_hidden_line_is_never_due_and_says_nothing():
    out = io.StringIO()
    with LiveLine(shown=False, console=Console(file=out)) as line:
        assert not line.due()
        line.show(READING)
    assert out.getvalue() == ""


def test_times_are_read_as_clocks():
    assert [clock_time(s) for s in (0, 59.6, 61, 3600, -3)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:00:00",
        "0:00",
    ]
