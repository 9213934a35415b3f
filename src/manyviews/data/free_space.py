"""How much memory and disk is free: of the machine, and of what this process may have of it."""

import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def free_memory(
    *, meminfo: Path = Path("/proc/meminfo"), groups: Path = _GROUPS, own: Path | None = None
) -> tuple[int, int]:
    """Bytes that can be had without another process losing some, and bytes in all.

    A container's or a job's limit (control groups, version 1 and 2) counts where it is less; what
    the system would give back of its file cache is free.

    Args:
        meminfo: what Linux says of the machine; where there is none, nothing is free.
        groups: where control groups are mounted.
        own: says which of them this process is in.
    """
    said = _numbers(meminfo)
    free, total = (1024 * said.get(key, 0) for key in ("MemAvailable:", "MemTotal:"))
    for limit, used in _limits(groups, own or Path("/proc/self/cgroup")):
        if limit < total:
            free, total = min(free, max(0, limit - used)), limit
    return free, total


def free_disk(file: int | Path) -> tuple[int, int]:
    """Bytes that this user may still write beside a file (or a number of one), and in all."""
    found = os.statvfs(file)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def _limits(groups: Path, own: Path) -> Iterator[tuple[int, int]]:
    """(limit, used) in bytes of every group that this process is in and that has a limit."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, kinds, path = line.split(":", 2)
        second = number == "0" and not kinds
        if not second and "memory" not in kinds.split(","):
            continue
        top = groups if second else groups / "memory"
        limit, used, cached = (
            ("memory.max", "memory.current", "inactive_file")
            if second
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        # A container may be told the host's path, of which it sees the last part, as the top.
        group = top / path.lstrip("/")
        while True:
            most, now = _number(group / limit), _number(group / used)
            if most is not None and now is not None:
                yield most, max(0, now - _numbers(group / "memory.stat").get(cached, 0))
            if group in (top, group.parent):
                break
            group = group.parent


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _numbers(path: Path) -> dict[str, int]:
    """First word -> the number behind it."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
