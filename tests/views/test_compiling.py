"""Views compiled by torch's own compiler, in a process of its own, beside worker processes.

It runs once, for half a minute: `main` below is that process, and what it finds is looked at here.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._inductor.config

from manyviews.data import workers
from manyviews.views.device import DeviceViews
from manyviews.views.plan import Crops, Views
from manyviews.views.single import unchanged
from manyviews.views.stage import FIELDS, Stage

PLAN = Views(
    global_=Crops(
        size=16, brightness=0.8, saturation=0.8, hue=0.2, sigma=(0.1, 1.0), solarize=(0.3,)
    )
)


def staged(epoch, *, plan=PLAN, count=7, height=20, width=31, first=0):
    """What workers hand over: smooth pictures with noise, and draws."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width] / 9
    waves = np.sin(y + rng.uniform(0, 6, (count, 1, 1))) + np.sin(1.7 * x)
    noisy = 128 + 60 * waves[..., None] + rng.normal(0, 20, (count, height, width, 3))
    images = np.clip(noisy, 0, 255).astype(np.uint8)
    made = Stage(plan, channels=3, seed=7)(images, first + np.arange(count), epoch)
    return [{name: torch.as_tensor(value) for name, value in group.items()} for group in made]


def apart(a, b):
    """The largest difference in levels, and the share of values that differ."""
    off = (a.int() - b.int()).abs()
    return off.max().item(), (off > 0).float().mean().item()


def main():
    logging.basicConfig(format="%(message)s")  # warnings go to stderr
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    views, plain = DeviceViews(PLAN, cpu, compiled=True), DeviceViews(PLAN, cpu)
    with torch._inductor.config.patch({"cpp.cxx": (None, "/nowhere/g++")}):
        small = Views(global_=unchanged(8))
        DeviceViews(small, cpu, compiled=True)(*staged(0, plan=small))
    found = {"from workers": [], "in any batch": [], "again": [], "with others": []}
    batches = workers.each(staged, range(3), workers=1)
    for batch in batches:  # the first is compiled while the worker runs
        found["from workers"].append(apart(views(*batch)[0]["global"], plain(*batch)[0]["global"]))
    for batch in workers.each(staged, range(3, 6), workers=2):  # these start after it
        found["from workers"].append(apart(views(*batch)[0]["global"], plain(*batch)[0]["global"]))
    for shape in ((6, 20, 20), (4, 24, 40), (2, 33, 18), (16, 16, 16)):
        batch = staged(1, count=shape[0], height=shape[1], width=shape[2])
        found["from workers"].append(apart(views(*batch)[0]["global"], plain(*batch)[0]["global"]))

    images, cues = staged(3, first=50)
    whole = views(images, cues)[0]["global"]
    found["again"].append(apart(views(images, cues)[0]["global"], whole))
    for rows in ([3], [6, 0], [1, 2, 3, 4, 5]):
        draws = cues["draws.global"][rows]
        draws[..., FIELDS.index("source")] = torch.arange(len(rows))[:, None]
        part = views({"images": images["images"][rows]}, {"draws.global": draws})[0]["global"]
        found["in any batch"].append(apart(part, whole[rows]))
    for other in (staged(4, first=50), staged(3, first=51)):
        made = views(images, other[1])[0]["global"]
        found["with others"].append(apart(made, whole))
    found["graphs"] = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    found["seconds"] = views.compile_seconds
    sys.stdout.write(json.dumps(found))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    if shutil.which("g++") is None:
        pytest.skip("no g++, with which torch compiles on a CPU")
    folder = str(tmp_path_factory.mktemp("compiling"))
    paths = {"TORCHINDUCTOR_CACHE_DIR": folder, "TMPDIR": folder}
    # The compiler would else try for 6 seconds what the processor can do.
    spared = {"TORCHINDUCTOR_VEC_ISA_OK": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve())],
        env=os.environ | paths | spared,
        capture_output=True,
        text=True,
        timeout=300,  # a process that waits for another for ever
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "uncompiled" in line]
    return json.loads(done.stdout.splitlines()[-1]) | {"said": said}


def test_a_missing_c_compiler_is_named_in_one_line_and_nothing_else_is_said(found):
    [line] = found["said"]
    assert line.startswith("Views are made uncompiled, more slowly")
    assert line.endswith(
        "No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, '/nowhere/g++')"
    )


def test_compiled_code_makes_the_same_views_beside_worker_processes(found):
    assert len(found["from workers"]) == 10
    for most, share in found["from workers"]:
        assert most <= 1
        assert share < 1e-3
    assert found["graphs"] == 1
    assert 0.5 < found["seconds"] < 300


def test_compiled_views_depend_on_seed_epoch_index_and_view_alone(found):
    assert found["again"] == [[0, 0.0]]
    assert len(found["in any batch"]) == 3
    for most, share in found["in any batch"]:
        assert most <= 1
        assert share < 1e-3
    for _, share in found["with others"]:
        assert share > 0.5


if __name__ == "__main__":
    main()
