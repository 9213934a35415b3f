"""The verbs where something gets in their way, and where several ranks run them."""

import contextlib
import errno
import io
import os
import socket
from pathlib import Path

import pytest
import torch
from PIL import Image

import manyviews
from forks import fork, wait
from manyviews.core import Failure, UsageError
from manyviews.core.files import read_lines
from manyviews.diagnosis.alarms import Alarm
from manyviews.recipes import RECIPES
from manyviews.runs import probe as probing
from manyviews.runs import saved
from manyviews.runs import train as training
from manyviews.runs.facts import typical_facts
from manyviews.runs.folder import write
from manyviews.runs.train import Trained
from manyviews.training import launch
from manyviews.verbs import cli, listing
from manyviews.verbs import train as verbs_train

torch.set_num_threads(1)

TINY = {
    "train.steps": 2,
    "train.precision": "fp32",
    "data.batch_size": 8,
    "encoder.width": 8,
    "method.hidden": 16,
    "method.out": 16,
}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(16):
        Image.effect_noise((16, 16), 50.0 + i).save(folder / f"{i:02d}.png")
    return folder


def on_two_ranks(action):
    """Run `action(rank)` twice as torchrun would start it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def rank_of(rank):
        def body():
            told = {"WORLD_SIZE": "2", "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}
            os.environ |= {**told, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
            action(rank)

        return body

    assert [wait(child) for child in [fork(rank_of(0)), fork(rank_of(1))]] == [0, 0]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), Failure("No.")]
)
def test_a_disk_that_is_full_after_training_costs_only_what_resume_makes_good(
    monkeypatch, pictures, tmp_path, error
):
    def full(*_):
        raise error

    run = tmp_path / "a run"
    with monkeypatch.context() as patch:
        patch.setattr(training.report, "write", full)
        with pytest.raises(Failure, match=r"No.*The training is saved.*resume '.*a run'` does"):
            manyviews.train("simclr", data=str(pictures), out=run, overrides=TINY)
    assert not (run / "report.html").exists()
    assert manyviews.resume(run).status == "done"
    assert (run / "report.html").is_file()


def test_only_rank_0_asks_whether_there_is_a_run_already(monkeypatch, tmp_path):
    """Another rank may ask when rank 0 has written this run's first checkpoint."""
    (tmp_path / "checkpoints" / "step_0").mkdir(parents=True)
    with pytest.raises(UsageError, match="already holds a run"):
        write.refuse_second(tmp_path)
    monkeypatch.setattr(write.comm, "rank", lambda: 1)
    write.refuse_second(tmp_path)


def test_alarms_from_before_the_training_stay_in_its_log(monkeypatch, pictures, tmp_path):
    alarm = Alarm("shared_target", "a cause", "--advice", message="seen", light="bad")
    monkeypatch.setattr(training.wiring, "check", lambda *_, **__: [alarm])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"kind": "alarm", "of": "an earlier start"}\n')
    trained = manyviews.train("simclr", data=str(pictures), out=tmp_path / "run", overrides=TINY)
    assert trained.status == "done"
    records = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert [r.get("name") for r in records if r["kind"] == "alarm"] == ["shared_target"]
    assert "seen" in (tmp_path / "run" / "report.html").read_text()


def test_ranks_agree_on_the_name_of_a_new_run(monkeypatch, tmp_path):
    def action(rank):
        monkeypatch.setattr(write.time, "time", lambda: 1e9 + 100 * rank)
        with launch.ranks(torch.device("cpu")):
            (tmp_path / f"{rank}").write_text(str(write.new_directory("simclr")))

    on_two_ranks(action)
    assert (tmp_path / "0").read_text() == (tmp_path / "1").read_text()


@pytest.mark.parametrize("arguments", [["list", "methods"], ["train", "simclr"]])
def test_one_rank_prints_and_one_complains(monkeypatch, tmp_path, arguments):
    """One command a process, as torchrun has it: a second would meet the first one's store."""

    def action(rank):
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit),
        ):
            cli.main(arguments)
        (tmp_path / f"out{rank}").write_text(out.getvalue())
        (tmp_path / f"err{rank}").write_text(err.getvalue())

    on_two_ranks(action)
    out0, out1, *err = [(tmp_path / f).read_text() for f in ("out0", "out1", "err0", "err1")]
    assert out1 == ""
    if arguments[0] == "list":
        assert "simclr" in out0
        assert err == ["", ""]
    else:
        assert "".join(err).count("train wants data") == len("".join(err).splitlines()) == 1


def test_an_interrupted_demo_can_be_resumed_and_says_so(monkeypatch, tmp_path, capsys):
    stopped = Trained(
        status="interrupted",
        run=tmp_path / "demo",
        steps=3,
        seconds=1.0,
        images_per_second=1.0,
        waited=0.0,
        skipped=0,
        unreadable=0,
    )

    class Probe:
        def split(self, embed):
            x, y = torch.eye(2).repeat(4, 1), torch.tensor([0, 1]).repeat(4)
            return probing.SplitFeatures(x, y, x, y)

        def measure(self, embed, names):
            return [type("Result", (), {"value": 0.5})]

    monkeypatch.setattr(probing, "open_probe", lambda *_, **__: Probe())
    monkeypatch.setattr(verbs_train, "execute", lambda *_, **__: stopped)
    with pytest.raises(SystemExit) as stop:
        cli.main(["demo", "--out", str(tmp_path / "demo")])
    assert stop.value.code == 75
    assert "go on with: manyviews resume" in capsys.readouterr().out


def test_doctor_reports_on_a_folder_in_which_nothing_can_be_read(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(b"no image")
    found = manyviews.doctor(str(tmp_path))
    assert len(found.report.unreadable) == 3
    assert not any("manyviews train" in line for line in found.lines())
    with pytest.raises(UsageError):
        manyviews.doctor(str(tmp_path / "nowhere"))


def test_doctor_examines_as_many_as_it_is_asked_to(pictures):
    assert manyviews.doctor(str(pictures), sample=4).report.examined == 4
    assert manyviews.doctor(str(pictures)).report.examined == 16


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_an_unforeseen_error_of_the_disk_is_one_line_without_a_traceback(
    monkeypatch, capsys, number
):
    def full(*_, **__):
        raise OSError(number, os.strerror(number), "run/x")

    monkeypatch.setattr(listing, "about", full)
    with pytest.raises(SystemExit) as stop:
        cli.main(["list", "methods"])
    assert stop.value.code == 1
    assert capsys.readouterr().err == (
        f"manyviews: run/x: {os.strerror(number)}. Make room, or choose another place.\n"
    )


def test_a_defect_is_one_line_even_where_its_traceback_cannot_be_written(monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("a defect")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(listing, "about", broken)
    monkeypatch.setattr(cli.tempfile, "NamedTemporaryFile", full)
    with pytest.raises(SystemExit) as stop:
        cli.main(["list", "methods"])
    assert stop.value.code == 1
    assert capsys.readouterr().err == "manyviews: unexpected RuntimeError: a defect\n"


def test_an_evaluation_that_cannot_be_kept_is_still_given(pictures, tmp_path, caplog):
    labelled, out = tmp_path / "labelled", tmp_path / "run"
    for path in pictures.iterdir():
        folder = labelled / ("even" if int(path.stem) % 2 == 0 else "odd")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
    manyviews.train("simclr", data=str(pictures), out=out, overrides=TINY)
    (out / "evaluation").write_text("in the way")
    [found] = manyviews.evaluate(out, data=str(labelled)).found
    assert found.result.protocol == "knn"
    assert "Cannot write" in caplog.text


@pytest.mark.parametrize(
    ("verb", "settings", "words"),
    [
        ("train", {"overrides": {"data.channels": "three"}}, "data.channels should be a whole num"),
        ("train", {"overrides": {"data.max-pixels": 2}}, "more than --data.max-pixels 2"),
        ("embed", {"out": "x.npy", "level": "pixel"}, "level is 'pixel'"),
        ("evaluate", {"protocol": "knm"}, "protocol is 'knm'. Did you mean 'knn'?"),
    ],
)
def test_values_that_the_command_line_would_refuse_are_refused(pictures, verb, settings, words):
    first = "timm:resnet18" if verb == "evaluate" else "simclr"
    with pytest.raises(UsageError, match=words):
        getattr(manyviews, verb)(first, data=str(pictures), **settings)


def test_export_and_report_refuse_what_they_cannot_do(tmp_path):
    with pytest.raises(UsageError, match="format is 'tim'"):
        manyviews.export(tmp_path, out=tmp_path / "x", format="tim")
    with pytest.raises(UsageError, match="is no duration"):
        manyviews.demo(out=tmp_path, minutes=-1)
    pieces = saved.to_yaml(RECIPES["simclr"](typical_facts()))
    (tmp_path / "config.yaml").write_text(pieces)
    with pytest.raises(UsageError, match="it has no began"):
        manyviews.report(tmp_path)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("done", "manyviews diagnose 'a run'"),
        ("interrupted", "manyviews resume 'a run'"),
        ("collapsed", "change what the alarm names"),
    ],
)
def test_every_end_of_a_training_says_what_to_do_next(tmp_path, monkeypatch, status, words):
    monkeypatch.chdir(tmp_path)
    told = {"steps": 3, "seconds": 1.0, "images_per_second": 9.0, "waited": 0.1}
    ended = Trained(status=status, run=Path("a run"), skipped=0, unreadable=0, **told)
    assert words in ended.lines()[-1]
