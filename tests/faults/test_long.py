"""What may not grow with the number of steps, and homes that cannot be written."""

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import folder_of

from forks import run
from manyviews.runs.folder.lock import RunDirectory
from manyviews.runs.watch import Watch
from manyviews.training.loop import fit
from manyviews.training.settings import Train
from toy import Toy, batches, job

STATM = Path("/proc/self/statm")


@pytest.mark.skipif(not STATM.exists(), reason="needs Linux's /proc")
def test_memory_is_flat_over_2000_steps(tmp_path):
    """With health checks, lines of metrics and checkpoints; in a child process."""
    seen = {}

    class Measured(Toy):
        def after_step(self, clock):
            super().after_step(clock)
            if clock.step in (500, 1999):
                gc.collect()
                seen[clock.step] = int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    made = list(batches()(0, 3))

    def stream(start, stop):
        yield from (made[step % 3] for step in range(start, stop))

    def action():
        settings = Train(
            steps=2000, precision="fp32", log_every=10, health_every=20, checkpoint_every=500
        )
        with RunDirectory(tmp_path) as directory:
            watch = Watch(directory, on_collapse="warn")
            fit(job(directory, Measured(), train=settings, monitors=[watch], batches=stream))
        grown = seen[1999] - seen[500]
        assert grown < 3 << 20, f"{grown:,} bytes more"  # 1 MB would be 700 bytes a step

    assert run(action) == 0


TRAIN_AND_EVALUATE = """
import manyviews, os
small = {"train.steps": 2, "data.batch_size": 8, "encoder.width": 8}
assert os.getuid() == 1000
manyviews.train("simclr", data="images", out="run", overrides=small)
manyviews.evaluate("run/encoder.safetensors", data="images", protocol=["knn"])
"""
UNPRIVILEGED = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]


def may_be_another():
    """Whether a process may become a user without rights here."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNPRIVILEGED, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_be_another(), reason="needs user namespaces")
def test_a_user_whose_home_cannot_be_written_trains_and_evaluates(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    for kind in ("a", "b"):
        folder_of(tmp_path / "images" / kind, 10)
    told = {**os.environ, "HOME": str(home)}
    told.pop("XDG_CACHE_HOME", None)

    result = subprocess.run(
        [*UNPRIVILEGED, sys.executable, "-c", TRAIN_AND_EVALUATE],
        env=told,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert f"The features are not kept in {home}" in result.stderr
    assert not list(home.iterdir())
