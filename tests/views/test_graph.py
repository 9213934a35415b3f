"""Compiled views are the uncompiled ones, from one graph a family; without a compiler all goes on.

Stated tolerance: 1 level, in at most one value in a thousand. All that compiles does so in a child:
once torch has compiled something, it starts threads that other tests' children could not do with.
"""

import functools
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from forks import run
from manyviews.training.signals import Waited
from manyviews.views import planes
from manyviews.views.device import DeviceViews
from manyviews.views.plan import Crops, Mask, Views
from manyviews.views.single import unchanged
from manyviews.views.stage import FIELDS, Stage

CPU = torch.device("cpu")
ALL = Crops(size=16, brightness=0.8, saturation=0.8, hue=0.2, sigma=(0.1, 1.0), solarize=(0.3,))
SIMCLR = Views(global_=ALL)
DINO = Views(
    global_=replace(ALL, blur=(1.0, 0.1), solarize=(0.0, 0.2)),
    local=replace(ALL, count=4, size=12, scale=(0.1, 0.4), interpolation="bicubic", hue=0.5),
)
MAE = Views(
    global_=replace(unchanged(16), count=1, scale=(0.2, 1.0), interpolation="bicubic", flip=0.5),
    mask=Mask(ratio=0.75, patch=4),
)
PLANS = {
    "SimCLR": (SIMCLR, 3),
    "DINO": (DINO, 3),
    "MAE": (MAE, 3),
    "one channel": (SIMCLR, 1),
    "two channels": (SIMCLR, 2),
    "four channels": (SIMCLR, 4),
}
BATCHES = ((6, 20, 20), (6, 20, 31), (5, 33, 18), (16, 16, 16), (9, 12, 3), (4, 24, 2), (2, 50, 40))
"""Images, height, width: square ones, those that are as many as their pixels, and a last few."""


def staged(plan, count, height, width, *, channels=3, epoch=0, first=0):
    """What workers hand over: smooth pictures with noise, and draws."""
    rng = np.random.default_rng(first)
    y, x = np.mgrid[:height, :width] / 9
    waves = np.sin(y + rng.uniform(0, 6, (count, 1, 1))) + np.sin(1.7 * x)
    noisy = 128 + 60 * waves[..., None] + rng.normal(0, 20, (count, height, width, channels))
    images = np.clip(noisy, 0, 255).astype(np.uint8)
    made = Stage(plan, channels=channels, seed=7)(images, first + np.arange(count), epoch)
    return [{name: torch.as_tensor(value) for name, value in group.items()} for group in made]


def same(compiled, plain):
    for name, wanted in plain.items():
        off = (compiled[name].int() - wanted.int()).abs()
        assert compiled[name].shape == wanted.shape
        assert off.max() <= 1, name
        assert (off > 0).float().mean() <= 1e-3, name


@pytest.fixture(autouse=True)
def warned(caplog):
    """What was said that is a warning."""
    caplog.set_level(logging.INFO, logger="manyviews")
    return lambda: [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.fixture
def compiling_with(monkeypatch, tmp_path):
    """Have what we compile go to another backend."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    compiler = torch.compile

    def use(backend):
        def compile_with(function, *, options, **settings):
            assert options == {"compile_threads": 1}
            return compiler(function, backend=backend, **settings)

        monkeypatch.setattr(torch, "compile", compile_with)

    return use


def in_child(test):
    @functools.wraps(test)
    def child(**fixtures):
        assert run(lambda: test(**fixtures)) == 0

    return child


@pytest.mark.parametrize("name", PLANS)
@in_child
def test_one_graph_a_family_serves_every_batch(name, compiling_with, warned):
    plan, channels = PLANS[name]
    counter = CompileCounterWithBackend("eager")
    compiling_with(counter)
    compiled, plain = DeviceViews(plan, CPU, compiled=True), DeviceViews(plan, CPU)
    greys = set()
    for epoch, shape in enumerate(BATCHES):
        batch = staged(plan, *shape, channels=channels, epoch=epoch)
        same(compiled(*batch)[0], plain(*batch)[0])
        greys.add(int(batch[1]["draws.global"][..., FIELDS.index("grey")].sum()))
    assert counter.frame_count == (2 if plan.local.count else 1)
    assert not warned()
    assert len(greys) > 2 or name == "MAE"  # each batch asks for operations in other views


@in_child
def test_parts_of_a_batch_share_its_graph(compiling_with, monkeypatch, warned):
    counter = CompileCounterWithBackend("eager")
    compiling_with(counter)
    compiled, plain = DeviceViews(SIMCLR, CPU, compiled=True), DeviceViews(SIMCLR, CPU)
    batch = staged(SIMCLR, 9, 20, 31)
    whole = plain(*batch)[0]
    for views in (4, 5, 7, 18):
        monkeypatch.setattr("manyviews.views.device._CHUNK", views * 4 * (20 * 31 * 3 + 32 * 31))
        same(compiled(*batch)[0], whole)
    assert counter.frame_count == 1
    assert not warned()


@in_child
def test_no_graph_is_made_for_a_single_view(compiling_with, warned):
    counter = CompileCounterWithBackend("eager")
    compiling_with(counter)
    plan = Views(global_=replace(ALL, count=1))
    compiled = DeviceViews(plan, CPU, compiled=True)
    whole = compiled(*staged(plan, 4, 20, 20))[0]
    assert compiled(*staged(plan, 1, 20, 20))[0]["global"].shape == (1, 1, 16, 16, 3)
    assert whole["global"].shape == (4, 1, 16, 16, 3)
    assert counter.frame_count == 1
    assert not warned()


@in_child
def test_more_plans_than_torch_compiles_one_function_for_are_compiled(compiling_with, warned):
    counter = CompileCounterWithBackend("eager")
    compiling_with(counter)
    with torch._dynamo.config.patch(recompile_limit=2):
        for size in range(4, 8):
            plan = Views(global_=replace(unchanged(size), count=2))
            DeviceViews(plan, CPU, compiled=True)(*staged(plan, 2, 8, 8))
    assert counter.frame_count == 4
    assert not warned()


def test_a_gpu_gets_compiled_views_and_a_cpu_does_not():
    assert DeviceViews(SIMCLR, torch.device("cuda", 1)).compiled
    assert not DeviceViews(SIMCLR, CPU).compiled
    assert DeviceViews(SIMCLR, CPU).compile_seconds == 0


@in_child
def test_without_a_compiler_one_line_is_said_and_all_goes_on(compiling_with, warned):
    tries = []

    def broken(graph, inputs):
        tries.append(graph)
        raise OSError("\nno C compiler: cc\n  at line 3")

    compiling_with(broken)
    compiled, plain = DeviceViews(DINO, CPU, compiled=True), DeviceViews(DINO, CPU)
    for epoch in range(3):
        batch = staged(DINO, 4, 20, 20, epoch=epoch)
        made = compiled(*batch)[0]
        for name, wanted in plain(*batch)[0].items():
            assert torch.equal(made[name], wanted)
    [line] = warned()
    assert "Views are made uncompiled" in line
    assert "no C compiler: cc" in line
    assert "\n" not in line
    assert len(tries) == 1


@in_child
def test_a_wrong_graph_is_found_out(compiling_with, warned):
    def forgetful(graph, inputs):
        for node in list(graph.graph.nodes):  # it solarises no more
            if node.target is torch.minimum:
                node.replace_all_uses_with(node.args[0])
        graph.recompile()
        return graph.forward

    compiling_with(forgetful)
    plan = Views(global_=replace(ALL, hue=0.0, solarize=(1.0,)))
    batch = staged(plan, 4, 20, 20)
    made = DeviceViews(plan, CPU, compiled=True)(*batch)[0]["global"]
    assert torch.equal(made, DeviceViews(plan, CPU)(*batch)[0]["global"])
    [line] = warned()
    assert "differ by more than a level" in line


@in_child
def test_a_graph_that_fails_later_is_given_up(compiling_with, warned):
    calls = []

    def failing(graph, inputs):
        def call(*values):
            calls.append(values)
            if len(calls) == 2:
                raise RuntimeError("the graph is gone")
            return graph.forward(*values)

        return call

    compiling_with(failing)
    compiled, plain = DeviceViews(SIMCLR, CPU, compiled=True), DeviceViews(SIMCLR, CPU)
    for epoch in range(4):
        batch = staged(SIMCLR, 4, 20, 20, epoch=epoch)
        same(compiled(*batch)[0], plain(*batch)[0])
    [line] = warned()
    assert "the graph is gone" in line
    assert len(calls) == 2


@in_child
def test_too_little_memory_is_no_reason_to_go_on_without_a_graph(compiling_with, warned):
    def full(graph, inputs):
        def call(*values):
            raise torch.OutOfMemoryError("CUDA out of memory")

        return call

    compiling_with(full)
    compiled = DeviceViews(SIMCLR, CPU, compiled=True)
    with pytest.raises(torch.OutOfMemoryError):
        compiled(*staged(SIMCLR, 4, 20, 20))
    assert not warned()


@in_child
def test_a_stop_while_compiling_is_not_taken_for_a_failure(compiling_with, warned):
    def stopped(graph, inputs):
        raise Waited

    compiling_with(stopped)
    compiled = DeviceViews(SIMCLR, CPU, compiled=True)
    with pytest.raises(Waited):
        compiled(*staged(SIMCLR, 4, 20, 20))
    assert not warned()


def test_both_ways_to_choose_rows_agree():
    """Uncompiled, some rows are changed; in a graph, all are and some are put back."""
    images, cues = staged(SIMCLR, 12, 20, 20)
    numbers = planes.numbers(cues["draws.global"].flatten(0, 1))
    pictures = images["images"][numbers[:, FIELDS.index("source")].long()]
    some = planes.views(pictures, planes.Drawn(numbers, numbers), ALL)
    every = planes.views(pictures, planes.Drawn(numbers, None), ALL)
    same({"": every}, {"": some})
    for change in ("grey", "blur", "jitter"):
        asked = numbers[:, FIELDS.index(change)]
        assert 0 < asked.sum() < len(asked)
