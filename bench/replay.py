"""Ask the rule about lost views anew of trainings that are over, and see whom it would accuse.

    python bench/replay.py RUN ...

Reads each RUN/metrics.jsonl, where a line of every health check has the share of a batch's images
that find their other view (`consistency`). Each training's least running mean is printed as a share
of its peak; one at which the rule holds at three
checks in a row is accused. Every second run, in the order given, is of half "b".
"""

import argparse
import json
import math
from pathlib import Path

from manyviews.diagnosis.alarms import RULES, Numbers
from manyviews.diagnosis.collapse import WEIGHT

SUSTAIN = 3


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    rows = [(path.name, *asked(shares(path))) for path in options.runs]
    rows = [row for row in rows if math.isfinite(row[1])]
    print("| half | training | peak | least, of the peak so far | accused |\n|---|---|---|---|---|")
    for number, (name, peak, least, accused) in enumerate(rows):
        said = "yes" if accused else "no"
        print(f"| {'ab'[number % 2]} | {name} | {peak:.2f} | {least:.2f} | {said} |")
    return rows


def shares(run):
    """Of every check that has one."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    found = [r.get("consistency", math.nan) for r in records if r["kind"] == "health"]
    return [share for share in found if math.isfinite(share)]


def asked(found):
    """The peak of the running mean, its least as a share of the peak so far, and what is said."""
    [rule] = [rule for rule in RULES if rule.name == "views_lost"]
    peak, least, wrong, accused, mean = math.nan, 1.0, 0, False, math.nan
    for share in found:
        mean = share if math.isnan(mean) else mean + WEIGHT * (share - mean)
        peak = mean if math.isnan(peak) else max(peak, mean)
        least = min(least, mean / peak if peak else 1.0)
        wrong = wrong + 1 if rule.holds(Numbers(found=mean, found_peak=peak)) else 0
        accused |= wrong >= SUSTAIN
    return peak, least, accused


if __name__ == "__main__":
    main()
