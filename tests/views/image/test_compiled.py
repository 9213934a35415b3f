"""Machine code is made when it is needed and kept, where there is somewhere to keep it."""

import subprocess
import sys

import pytest

from manyviews.views.image import compiled

IMPORT = """
from numba.core import event
compiled = []
class Listen(event.Listener):
    def on_start(self, e): compiled.append(e)
    def on_end(self, e): pass
event.register("numba:compile", Listen())
"""


def run(code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT + code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_is_compiled_on_import():
    assert (
        run("import manyviews.views.image.engine, manyviews.verbs.cli\nprint(len(compiled))")
        == "0\n"
    )


def test_code_that_cannot_be_kept_is_compiled_all_the_same(monkeypatch):
    real = compiled.numba.njit

    def njit(*arguments, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*arguments, **options)

    monkeypatch.setattr(compiled.numba, "njit", njit)
    assert compiled.compiled(lambda x: 2 * x)(4) == 8
    with pytest.raises(RuntimeError):
        njit(lambda x: x, cache=True)(1)
