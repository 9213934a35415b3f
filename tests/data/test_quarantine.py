"""Unreadable files are written down once, whoever meets them, whatever a crash leaves."""

import fcntl
import json
import multiprocessing
import threading
from pathlib import Path

import pytest

from manyviews.data.quarantine import Bad, Quarantine, most_bad


@pytest.mark.parametrize(
    ("share", "count", "most"),
    [
        *((0.29, 100, 29), (0.01, 100, 1), (0.07, 100, 7), (0.01, 350, 3)),  # no loss to rounding
        *((0.01, 99, 1), (0.01, 2, 1), (0.0, 99, 0), (0.0, 1, 0)),  # one, unless none may be
        *((1.0, 9, 8), (0.01, 1, 0), (0.5, 0, 0)),  # never all
    ],
)
def test_how_many_may_be_bad(share: float, count: int, most: int) -> None:
    assert most_bad(share, count) == most


def test_each_file_is_written_once_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    quarantine = Quarantine(path)
    assert not path.exists()
    assert quarantine.add(Bad("a\nb.png", "empty file")) == 1
    assert quarantine.add(Bad("é.png", 'says "no"')) == 2
    assert quarantine.add(Bad("a\nb.png", "another reason")) == 2
    assert path.read_text() == (
        '{"path": "a\\nb.png", "reason": "empty file"}\n'
        '{"path": "\\u00e9.png", "reason": "says \\"no\\""}\n'
    )
    assert quarantine.entries() == [Bad("a\nb.png", "empty file"), Bad("é.png", 'says "no"')]
    assert len(quarantine) == 2


def test_a_resumed_run_knows_what_an_earlier_part_found(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    Quarantine(path).add(Bad("a", "x"))
    later = Quarantine(path)
    assert later.entries() == [Bad("a", "x")]
    assert later.add(Bad("a", "x")) == 1
    assert later.add(Bad("b", "y")) == 2
    assert len(path.read_text().splitlines()) == 2


def test_two_writers_see_each_others_lines(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    one, two = Quarantine(path), Quarantine(path)
    one.add(Bad("a", "x"))
    two.add(Bad("b", "y"))
    assert two.add(Bad("a", "x")) == 2
    assert one.add(Bad("c", "z")) == 3
    assert [json.loads(line)["path"] for line in path.read_text().splitlines()] == ["a", "b", "c"]


def test_a_writer_waits_for_the_others_lock(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    path.touch()
    writer = threading.Thread(target=Quarantine(path).add, args=(Bad("a", "x"),))
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writer.start()
        writer.join(timeout=0.3)
        assert path.read_bytes() == b""
    writer.join(timeout=10)
    assert len(path.read_text().splitlines()) == 1


def test_a_line_cut_short_is_passed_over_and_written_again(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    path.write_text('{"path": "a", "reason": "x"}\n{"path": "b", "rea')
    quarantine = Quarantine(path)
    assert len(quarantine) == 1
    assert quarantine.add(Bad("b", "y")) == 2
    assert quarantine.add(Bad("c", "z")) == 3
    assert Quarantine(path).entries() == [Bad("a", "x"), Bad("b", "y"), Bad("c", "z")]


def _write(path: Path, names: list[str]) -> None:
    quarantine = Quarantine(path)
    for name in names:
        quarantine.add(Bad(name, "x"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_two_processes_write_every_file_exactly_once(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    context = multiprocessing.get_context("fork")
    names = [f"{i}.png" for i in range(150)]
    processes = [
        context.Process(target=_write, args=(path, order)) for order in (names, names[::-1])
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = [json.loads(line)["path"] for line in path.read_text().splitlines()]
    assert sorted(found) == sorted(names)


def test_a_full_disk_costs_the_line_and_not_the_training(tmp_path, caplog):
    quarantine = Quarantine(tmp_path / "no folder" / "quarantine.jsonl")
    assert quarantine.add(Bad("a.png", "broken")) == 1
    assert quarantine.add(Bad("a.png", "broken")) == 1
    assert quarantine.add(Bad("b.png", "broken")) == 2
    assert "Training goes on" in caplog.text
