"""Judge trainings whose right verdict is known, and say which verdicts are wrong.

    nice -n 10 python bench/verdict.py --runs planted [--out FILE.md]
        [--only NAME ... | --missing] [--minutes M] [--list]

Trains what plans.py lists, unless it is there, measures each as `manyviews report` does, and
holds the three answers against what is known: by construction (20 steps or fewer, faults, data),
and by kNN with labels on images that no training saw (did it learn; would twice the steps be
better): the 2,000 of the test part and 7,334 more. Half "a" has chosen the thresholds in
`diagnosis/`, the others judge them.

What is measured of a run is kept in RUN/evidence.json: after another threshold only the judging is
done anew. `--remeasure` does all of it anew.

In pieces: `--only` makes those named, `--missing` those that have no row in FILE.md, and with
`--minutes` none is begun after so long; the same command goes on where it stopped. Whatever has
been measured in `--runs` is judged; of what has not FILE.md keeps the row that it has. `--list`
makes nothing and says what there is, and what a training costs.
"""

import argparse
import copy
import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

import torch
from plans import HALVES, plans
from planted import COUNT, SMALL, broken_as, train

from manyviews.core.nouns import IMAGE
from manyviews.core.passes import passes
from manyviews.data import direct
from manyviews.data.settings import MAX_PIXELS
from manyviews.data.sources import BUILTIN
from manyviews.diagnosis.against import judge_start, judge_untrained
from manyviews.diagnosis.state import FeatureState, state_of
from manyviews.diagnosis.verdict import WORDS, Course, Evidence, verdict
from manyviews.evaluation.intervals import bootstrap
from manyviews.evaluation.knn import knn
from manyviews.evaluation.labelled import open_labelled
from manyviews.runs import against as holding
from manyviews.runs import verdict as judging
from manyviews.runs.assemble import embed_with
from manyviews.runs.diagnose import assembly_of, newest_of
from manyviews.runs.folder import read
from manyviews.runs.report import embedded_by
from manyviews.training import checkpoint
from manyviews.views.by_input import plain_of

EVERY, VOTES = {"train": 1, "test": 1}, 3
"""Of the labelled images every so many are looked at; of the training ones so many vote."""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("planted"))
    parser.add_argument("--only", nargs="*", default=[], help="names of plans; all if not given")
    parser.add_argument("--missing", action="store_true", help="what has no row in --out")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--list", action="store_true", help="make nothing")
    parser.add_argument("--out", type=Path, help="for instance docs/experiments/verdict.md")
    parser.add_argument("--remeasure", action="store_true")
    options = parser.parse_args(arguments)
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    every = plans()
    if unknown := set(options.only) - set(every):
        parser.error(f"no plan {', '.join(sorted(unknown))}; --list names them")
    before = rows_of(options.out) if options.out else {}
    chosen = {n: p for n, p in every.items() if not options.only or n in options.only}
    if options.missing:
        chosen = {n: p for n, p in chosen.items() if n not in before}
    if options.list:
        for name, plan in chosen.items():
            print(told(name, plan, options.runs, row=name in before))
        return []
    began = time.monotonic()
    for name, plan in chosen.items():
        if time.monotonic() - began > 60 * options.minutes:
            print(f"{name} and what follows: another time", flush=True)
            break
        make(name, plan, options.runs, remeasure=options.remeasure)
    rows = judged_rows(every, options.runs, before)
    if options.out:
        options.out.write_text(page(options.out, rows))
    return rows


def make(name, plan, root, *, remeasure):
    """Train and measure a plan, unless both are done."""
    began = time.monotonic()
    run = train(name, plan, root)
    trained = time.monotonic()
    file = run / "evidence.json"
    if remeasure or not file.is_file():
        file.write_text(json.dumps(measured(run, plan), indent=1))
    seconds = trained - began, time.monotonic() - trained
    print(f"{name}: trained in {seconds[0]:.0f} s, measured in {seconds[1]:.0f} s", flush=True)


def judged_rows(every, root, before):
    """The table: what has been measured is judged, of the rest rows are as they were before."""
    files = {name: root / name / "evidence.json" for name in every}
    known = {n: json.loads(file.read_text()) for n, file in files.items() if file.is_file()}
    rows = []
    for name, plan in every.items():
        if name in known:
            found = judged(root / name, known[name])
            wrong = wrongs(plan, found, known[name], known.get(plan.longer))
            rows.append(row(name, plan, found, known[name], wrong))
        elif name in before:
            rows.append(before[name])
        else:
            continue
        print(" | ".join(rows[-1].values()), flush=True)
    for half in HALVES:
        own = [one for one in rows if one["half"] == half]
        bad = [one["run"] for one in own if one["wrong"]]
        print(f"half {half}: {len(bad)} of {len(own)} have a wrong answer {' '.join(bad)}".rstrip())
    return rows


def told(name, plan, root, *, row):
    """A line on a plan: what it takes, and what of it is there."""
    images = plan.steps * batch_of(plan)
    there = [
        word
        for word, file in (("trained", "planted.json"), ("measured", "evidence.json"))
        if (root / name / file).is_file()
    ]
    there += ["has a row"] if row else []
    start = f", from {plan.start}" if plan.start else ""
    return f"{name}: {plan.steps} steps, {images:,} images{start}; {', '.join(there) or 'nothing'}"


def batch_of(plan):
    """Samples of a step."""
    return plan.given.get("data.batch_size", SMALL["data.batch_size"])


def measured(run, plan):
    """What is known of a run, without and with labels."""
    with broken_as(plan):
        assembly = assembly_of(run)
    step = checkpoint.step_of(newest_of(run))
    held = holding.standing(assembly, run, step=step)
    features = torch.from_numpy(embedded_by(assembly)["image"].features)
    found = {
        "step": step,
        "features": asdict(state_of(features, noun=IMAGE)),
        "held": {w: {n: a.to_json() for n, a in by.items()} for w, by in held.items()},
        "images": len(assembly.source),
        "seconds": max(
            (r["seconds"] for r in read.read_metrics(run) if r.get("seconds")), default=0
        ),
    }
    if plan.data in ("images", "few", "handful"):
        found["right"] = right_of(assembly, run)
    return found


def right_of(assembly, run):
    """Which test images kNN gets right: now, untrained, and at the start; strings of 0 and 1.

    Also now with normalisation that knows the data as the untrained encoder's does ("settled"):
    moving averages of a few steps still hold what they began with, which alone changes kNN.
    """
    sides = {"now": assembly.method.encoder}
    untrained = holding._untrained(assembly)["image"]
    if holding._norms(untrained):
        sides["settled"] = copy.deepcopy(untrained)  # whose layers do not wait for other ranks
        sides["settled"].load_state_dict(sides["now"].state_dict())
        holding._settle(assembly, "image", sides["settled"])
    if assembly.run.start:
        [sides["start"]] = holding.frozen(assembly, run).values()
    found = {side: _right(assembly, encoder) for side, encoder in sides.items()}
    kept = run.parent / "untrained.json"  # the same for all runs of an encoder and a seed
    known = json.loads(kept.read_text()) if kept.is_file() else {}
    key = f"{assembly.run.seed} {assembly.run.encoders}"
    if key not in known:
        known[key] = _right(assembly, untrained)
        kept.write_text(json.dumps(known))
    return found | {"untrained": known[key]}


def _right(assembly, encoder):
    """By kNN (cosine, k 20) from one in `VOTES` of the labelled training images.

    Asked of all test images, then of the training images that neither vote nor were trained on.
    """
    fed, sides = encoder.input, {}
    embed, fixed = embed_with(encoder, assembly.device), plain_of(fed)
    for split, every in EVERY.items():
        part = open_labelled(BUILTIN, channels=fed.channels, max_pixels=MAX_PIXELS, split=split)
        index = list(range(0, len(part.source), every))
        rows = [index[i : i + 256] for i in range(0, len(index), 256)]
        made = [direct.seen(part.source, fixed, some)[1] for some in rows]
        features = [
            embed(fed.finish(torch.from_numpy(next(iter(views.values()))))[:, 0]) for views in made
        ]
        sides[split] = torch.cat(features), part.labels[index]
    (train_x, train_y), (test_x, test_y) = sides["train"], sides["test"]
    place = torch.arange(len(train_x))
    votes = place % VOTES == 0
    asked = ~votes & (place * EVERY["train"] >= COUNT)
    test_x, test_y = torch.cat([test_x, train_x[asked]]), torch.cat([test_y, train_y[asked]])
    right = knn(train_x[votes], train_y[votes], test_x, k=20) == test_y
    return "".join(map(str, right.int().tolist()))


def judged(run, known):
    """The verdict, by the rules as they are now."""
    records = [r for r in read.read_metrics(run) if r["step"] <= known["step"]]
    held = {
        what: {n: again(what, one) for n, one in by.items()} for what, by in known["held"].items()
    }
    settings = read.saved_run(run)
    done = read.read_json(run / "outcome.json").get("status") == "done"
    total = settings.train.steps
    evidence = Evidence(
        state=FeatureState(**known["features"]),
        untrained=holding.of(held, holding.UNTRAINED),
        start=holding.of(held, holding.START),
        alarms=judging.raised(records),
        noun=IMAGE,
        course=Course(
            steps=known["step"],
            samples=known["images"],
            passes=passes(known["step"], batch=settings.data.batch_size, samples=known["images"]),
            share=1.0 if done else known["step"] / total,
            trend=judging.trend_of(records, (), ""),
        ),
        task=judging.task_of(records),
    )
    return verdict(evidence)


def again(what, one):
    """Judge the same numbers once more, by the rules as they are now."""
    judge = judge_untrained if what == holding.UNTRAINED else judge_start
    return judge(one["before"], one["after"])


def change(one, other):
    """Paired difference in kNN of two strings of 0 and 1, with its 95 % interval."""
    a, b = (torch.tensor([int(c) for c in side], dtype=torch.float64) for side in (one, other))
    return bootstrap(a - b)


def truth(plan, known, longer):
    """What is right: question -> the lights that are; without what nothing known can tell."""
    faulty = bool(plan.fault) or plan.data == "one"
    found = {"collapsed": {"bad", "warn"} if faulty else {"ok"}}
    if plan.given.get("hotter", 1.0) > 1.0:  # whether directions died is not known
        found = {}
    if faulty:
        return found
    learned = {"warn", "bad"} if plan.data == "noise" or known["step"] <= 20 else _learned(known)
    enough = {"warn", "bad"} if plan.cut >= 0 or plan.steps <= 20 else None
    if enough is None and longer is not None:
        more = change(longer["right"]["now"], known["right"]["now"])
        enough = {"warn"} if more.low > 0 else None
        if more.high < NOTHING and learned == {"ok"}:  # else it is not known whether it has begun
            enough = {"ok"}
    more = {"learned": learned, "enough": enough}
    return found | {name: lights for name, lights in more.items() if lights}


def _learned(known):
    """By labels, against the untrained encoder and the start; None where they cannot tell."""
    right = known["right"]
    changes = [of_untrained(right)]
    changes += [change(right["now"], right["start"])] if "start" in right else []
    if any(one.high < 0 for one in changes):
        return {"warn", "bad"}
    return {"ok"} if all(one.low > 0 for one in changes) else None


def of_untrained(right):
    """The gain over the untrained encoder, both with normalisation that knows the data."""
    return change(right.get("settled", right["now"]), right["untrained"])


NOTHING = 0.005
"""Twice the steps gain nothing where the interval of the gain in kNN ends below this."""
NAMES = ("learned", "collapsed", "enough")
COLUMNS = ("run", "half", "passes", "kNN (against untrained)", *NAMES, "wrong")
MARK = "<!-- made by bench/verdict.py -->\n"


def wrongs(plan, found, known, longer):
    """Which answers are wrong."""
    answers = dict(zip(NAMES, found.answers, strict=True))
    wanted = truth(plan, known, longer)
    left_open = "learned" if is_open(answers["learned"]) else ""
    return [
        name
        for name in NAMES
        if name in wanted and name != left_open and answers[name].light not in wanted[name]
    ]


def is_open(answer):
    """Whether it says that without labels it cannot be told."""
    return answer.light == "warn" and "Open" in answer.sentence.partition(": ")[0]


def row(name, plan, found, known, wrong):
    """A line of the table."""
    lights = ["open" if is_open(answer) else WORDS[answer.light] for answer in found.answers]
    labels = ""
    if "right" in known:
        gain = of_untrained(known["right"])
        labels = f"{known['right']['now'].count('1') / len(known['right']['now']):.3f} "
        labels += f"({gain.value:+.3f}, {gain.low:+.3f} to {gain.high:+.3f})"
    seen = f"{passes(known['step'], batch=batch_of(plan), samples=known['images']):.1f}"
    return dict(
        zip(COLUMNS, (name, plan.half, seen, labels, *lights, ", ".join(wrong)), strict=True)
    )


def rows_of(path):
    """Name -> its row in the document, of columns that are the same as now."""
    lines = path.read_text().partition(MARK)[2].strip().splitlines() if path.is_file() else []
    found = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    if not found or tuple(found[0]) != COLUMNS:
        return {}
    return {cells[0]: dict(zip(COLUMNS, cells, strict=True)) for cells in found[2:]}


def page(path, rows):
    """The document with its table made anew; what stands before the table stays."""
    before = path.read_text().partition(MARK)[0] if path.is_file() else "# Verdict\n\n"
    head = list(COLUMNS)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(one.values()) + " |" for one in rows]
    return before + MARK + "\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
