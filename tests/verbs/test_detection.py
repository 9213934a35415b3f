"""`evaluate --protocol detection` from the files to the result."""

import json

import pytest
import torch

import manyviews
import shapes
from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders import ResNetSmallConfig, build
from manyviews.evaluation.dense.settings import Detection
from manyviews.runs.embedder import save_encoder

pytest.importorskip("pycocotools", reason="needs the extra `detection`")
torch.set_num_threads(1)
FEW = Detection(steps=3, batch_size=4, width=8, proposals=10)


@pytest.fixture
def run(tmp_path):
    config = ResNetSmallConfig(input=Pixels(side=48), width=8)
    run = tmp_path / "run"
    run.mkdir()
    save_encoder(run / "encoder.safetensors", build(config), config=config, info={})
    shapes.draw(tmp_path / "boxed", 10)
    return run


def test_a_run_is_measured_beside_an_untrained_encoder_and_keeps_it(run, tmp_path):
    done = manyviews.evaluate(
        run, data=str(tmp_path / "boxed"), protocol="detection", detection=FEW
    )
    [found] = done.found
    assert list(found.beside) == ["untrained encoder"]
    assert list(found.result.measures) == ["AP", "AP50", "AP75"]
    assert (found.result.train, found.result.n) == (8, 2)
    assert "split by the hash of paths, 80 to 20" in done.lines()[4]
    [kept] = (run / "evaluation").glob("detection--*.json")
    assert json.loads(kept.read_text())["content"] == done.content != ""
    assert len(list((run / "cache").glob("*.npy"))) == 4


def test_what_is_not_for_it_is_refused(run, tmp_path):
    data = str(tmp_path / "boxed")
    with pytest.raises(UsageError, match="detection reads boxes and segmentation other files"):
        manyviews.evaluate(run, data=data, protocol=["detection", "segmentation"])
    with pytest.raises(UsageError, match=r"detection\.steps.* is 0; wanted 1 or more"):
        manyviews.evaluate(run, data=data, protocol="detection", detection=Detection(steps=0))
