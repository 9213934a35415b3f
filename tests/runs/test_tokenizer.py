"""A tokenizer, then BEiT, MAE or MAGE on its codes: the commands of docs/methods."""

import pytest
import torch

import manyviews
from manyviews.core import UsageError
from manyviews.runs.folder.paths import Paths
from manyviews.training import checkpoint

DATA = "builtin:fashion"
SHORT = {"train.minutes": 0.0, "train.steps": 2, "data.batch_size": 8, "data.workers": 0}
NET = {"encoder.width": 4, "encoder.codes": 16, "method.code": 4, "method.width": 4}
VIT = {"encoder.width": 12, "encoder.depth": 1, "encoder.heads": 2}


@pytest.fixture(scope="module")
def codes(tmp_path_factory):
    out = tmp_path_factory.mktemp("codes") / "run"
    manyviews.train("tokenizer", data=DATA, out=out, overrides=SHORT | NET)
    return out


def test_a_tokenizer_is_an_encoder_like_any_other(codes):
    encoder = manyviews.load(codes)
    x = torch.randn(2, 1, 28, 28)
    assert encoder.tokens(x).shape == (2, 49, 16)
    torch.testing.assert_close(encoder(x).sum(dim=1), torch.ones(2))


def test_beit_learns_its_codes_and_an_interrupted_run_goes_on_exactly(codes, tmp_path):
    told = SHORT | VIT | {"teachers.tokenizer.source": str(codes), "train.checkpoint_every": 1}
    manyviews.train("beit", data=DATA, out=tmp_path / "whole", overrides=told)
    manyviews.train("beit", data=DATA, out=tmp_path / "half", overrides=told)
    newest = checkpoint.path_of(Paths(tmp_path / "half").checkpoints, 2)
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    manyviews.resume(tmp_path / "half")
    one, two = (manyviews.load(tmp_path / name).encoder.state_dict() for name in ("whole", "half"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_mae_learns_its_codes(codes, tmp_path):
    told = SHORT | VIT | {"teachers.tokenizer.source": str(codes), "train.log_every": 1}
    small = {"method.width": 8, "method.depth": 1, "method.heads": 2}
    manyviews.train("mae-codes", data=DATA, out=tmp_path / "run", overrides=told | small)
    log = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert '"losses/codes"' in log
    assert "reconstruction" not in log


def test_mage_keeps_the_tokenizer_and_an_interrupted_run_goes_on_exactly(codes, tmp_path):
    small = {"encoder.width": 12, "encoder.depth": 1, "encoder.heads": 2, "method.width": 8}
    small |= {"encoder.codes": 16, "encoder.filters": 4, "method.depth": 1, "method.heads": 2}
    told = SHORT | small | {"teachers.tokenizer.source": str(codes), "train.checkpoint_every": 1}
    manyviews.train("mage", data=DATA, out=tmp_path / "whole", overrides=told)
    manyviews.train("mage", data=DATA, out=tmp_path / "half", overrides=told)
    newest = checkpoint.path_of(Paths(tmp_path / "half").checkpoints, 2)
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    manyviews.resume(tmp_path / "half")
    one, two = (manyviews.load(tmp_path / name).encoder.state_dict() for name in ("whole", "half"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    theirs = manyviews.load(codes).encoder.state_dict()
    assert all(torch.equal(value, one[f"tokenizer.{name}"]) for name, value in theirs.items())


def test_without_a_tokenizer_one_is_asked_for(tmp_path):
    with pytest.raises(UsageError, match=r"--teachers\.tokenizer timm:NAME \| FILE \| RUN"):
        manyviews.train("beit", data=DATA, out=tmp_path / "run", overrides=SHORT | VIT)
    told = SHORT | VIT | {"method.target": "codes"}
    with pytest.raises(UsageError, match=r"--teachers\.tokenizer RUN"):
        manyviews.train("mae", data=DATA, out=tmp_path / "run", overrides=told)
