"""Distil a small teacher into a smaller student, and count what it is worth.

    python bench/distill.py [--steps 300] [--out FOLDER]

SimCLR trains a teacher on the built-in images; students of half its width learn from it in the
same number of steps, and one without it by SimCLR. The k-NN accuracy of each is printed, beside
that of a student that no step has moved.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import manyviews

DATA = "builtin:fashion"
COMMON = {"data.batch_size": 128, "train.minutes": 0.0, "probe.source": DATA, "data.workers": 0}
TEACHER, STUDENT = {"encoder.width": 16}, {"encoder.width": 8}
UNMOVED = {"train.steps": 1, "optim.lr": 1e-30, "optim.weight_decay": 0.0}
"""A step that moves nothing."""
STUDENTS = {
    "untrained": ("simclr", UNMOVED),
    "SimCLR, no teacher": ("simclr", {}),
    "queue and places": ("distill", {}),
    "queue": ("distill", {"method.dense": 0.0}),
    "places": ("distill", {"method.pooled": 0.0}),
    "clusters": ("distill", {"method.anchors": "clusters", "method.dense": 0.0}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep the runs there")
    options = parser.parse_args()
    logging.getLogger("manyviews").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder)
        common = {**COMMON, "train.steps": options.steps, "seed": options.seed}
        teacher = trained("simclr", out / "teacher", {**common, **TEACHER})
        print(f"{'teacher':<24}{teacher:.4f}", flush=True)
        for name, (recipe, given) in STUDENTS.items():
            settings = {**common, **STUDENT, **given}
            if recipe == "distill":
                settings["teachers.teacher"] = str(out / "teacher")
            found = trained(recipe, out / name.replace(" ", "-"), settings)
            print(f"{name:<24}{found:.4f}", flush=True)


def trained(recipe, out, settings):
    """The k-NN accuracy of a training."""
    done = manyviews.train(recipe, data=DATA, out=out, overrides=settings)
    return done.evaluation["knn"]


if __name__ == "__main__":
    main()
