"""Install into a virtual environment: quietly, but never in silence.

    python tools/install.py LOG PIP-ARGUMENTS ...

runs `python -m pip install PIP-ARGUMENTS`, writes what pip says to LOG, and shows a line for each
large package and a sign of life every quarter of a minute. When pip fails, its last lines follow.
"""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

LARGE = re.compile(r"^(?:Downloading|Processing|Using cached) .*?([\w.]+)-\d\S*( \(.*[GM]B\))?")
SHOWN_FROM = 20.0
"""Megabytes from which on a download is worth a line."""
PAUSE = 15.0
"""Seconds between signs of life."""


def said_of(line: str) -> str:
    """What is worth showing of a line of pip's, or nothing."""
    if line.startswith("Installing collected packages"):
        return "unpacking; this takes a minute or two"
    size = re.search(r"\((\d+(?:\.\d+)?) ([MG])B\)", line)
    name = LARGE.match(line.strip())
    if size is None or name is None:
        return ""
    megabytes = float(size.group(1)) * (1000 if size.group(2) == "G" else 1)
    return f"{name.group(1)}, {megabytes:,.0f} MB" if megabytes >= SHOWN_FROM else ""


def main(log: Path, arguments: list[str]) -> int:
    """Run pip; its exit code."""
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    began = time.monotonic()
    over = threading.Event()

    def live() -> None:
        while not over.wait(PAUSE):
            print(f"  ... {time.monotonic() - began:.0f} s", flush=True)

    print(f"Installing ({' '.join(arguments)}); pip's own words are in {log}.", flush=True)
    threading.Thread(target=live, daemon=True).start()
    lines: list[str] = []
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as pip,
    ):
        for line in pip.stdout or ():
            file.write(line)
            lines.append(line)
            if said := said_of(line):
                print(f"  {said}", flush=True)
    over.set()
    if pip.returncode:
        print("".join(lines[-20:]), file=sys.stderr)
        print(f"pip failed; all it said is in {log}.", file=sys.stderr)
    else:
        print(f"Installed in {time.monotonic() - began:.0f} s.", flush=True)
    return pip.returncode


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), sys.argv[2:]))
