"""Files that do not fit, or are no weights, are refused in a line and run nothing."""

import argparse
import datetime
import json
import pathlib
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from layouts import RESNET_18, RESNET_BOTTLENECK, VIT, T, build, refused
from manyviews.core import UsageError
from manyviews.encoders import load_weights


def test_another_encoder_is_named_by_what_its_shapes_show(tmp_path):
    wide = build(replace(VIT, width=32), 1).model.state_dict()
    text = refused(tmp_path, {"model": wide}, build(VIT))
    assert "holds another encoder under 'model/': cls_token is (1, 1, 32) instead of" in text
    assert "It looks like a ViT of width 32, 2 blocks and patch 4." in text
    deep = build(replace(VIT, depth=3), 1).model.state_dict()
    text = refused(tmp_path, deep, build(VIT))
    assert "blocks.2.norm1.weight, " in text
    assert "is unknown" in text
    assert "3 blocks" in text
    text = refused(tmp_path, build(RESNET_18, 1).model.state_dict(), build(VIT))
    assert "has no tensor with a name of this encoder's (cls_token and so on)" in text
    assert "It looks like a ResNet of 2-2-2-2 basic blocks, its first convolution 7x7." in text
    text = refused(tmp_path, build(RESNET_18, 1).model.state_dict(), build(RESNET_BOTTLENECK))
    assert "a ResNet of 2-2-2-2 basic blocks" in text


def test_half_an_encoder_is_said_to_be_half(tmp_path):
    state = build(VIT, 1).model.state_dict()
    half = {k: v for k, v in state.items() if "blocks" not in k}
    text = refused(tmp_path, half, build(VIT))
    assert re.search(
        r"is not whole, .*: blocks.0.norm1.weight, .* and 21 more of 30 tensors are", text
    )


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_one_tensor_too_few_or_too_many_is_refused(tmp_path, change):
    state = dict(build(VIT, 1).model.state_dict())
    if change == "missing":
        del state["norm.bias"]
    else:
        state["blocks.7.norm1.bias"] = T
    text = refused(tmp_path, state, build(VIT))
    assert {"missing": "norm.bias of 30 tensors are missing", "unknown": "blocks.7.norm1.bias is"}[
        change
    ] in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: torch.full_like(v, float("nan")), "holds NaN or infinite weights in 1 tensors"),
        (lambda v: torch.full_like(v, float("inf")), "holds NaN or infinite weights"),
        (lambda v: v.to(torch.int8), "holds int8 numbers (norm.weight), not floating-point"),
        (lambda v: v.to(torch.float8_e4m3fn), "holds float8_e4m3fn numbers"),
        (lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8), "holds qint8 numbers"),
    ],
    ids=["nan", "inf", "int8", "float8", "quantised"],
)
@pytest.mark.filterwarnings("ignore:.*quantiz.*")
def test_what_is_no_weights_is_refused(tmp_path, change, words):
    state = dict(build(VIT, 1).model.state_dict())
    state["norm.weight"] = change(state["norm.weight"])
    assert words in refused(tmp_path, state, build(VIT))


def test_half_precision_loads(tmp_path):
    state = {k: v.half() for k, v in build(VIT, 1).model.state_dict().items()}
    torch.save(state, tmp_path / "weights.pth")
    encoder = build(VIT)
    load_weights(encoder, tmp_path / "weights.pth")
    assert torch.equal(encoder.model.norm.weight, state["norm.weight"].float())


class Anything:
    """Of a package that only the one who saved the file has."""

    def __init__(self):
        self.setting = 1


def test_objects_beside_the_tensors_are_left_and_run_nothing(tmp_path):
    state = build(VIT, 1).model.state_dict()
    beside = {
        "accuracy": np.float64(0.5),
        "array": np.arange(3),
        "path": pathlib.PosixPath("/tmp"),
        "took": datetime.timedelta(seconds=3),
        "args": argparse.Namespace(arch="x"),
        "anything": Anything(),
    }
    torch.save({"model": state, **beside}, tmp_path / "weights.pth")
    assert load_weights(build(VIT), tmp_path / "weights.pth").tensors == len(state)


class Payload:
    def __init__(self, function, *given) -> None:
        self.function, self.given = function, given

    def __reduce__(self):
        return self.function, self.given


@pytest.mark.parametrize("how", ["touch", "system", "exec"])
def test_code_in_a_pickle_is_refused_and_never_runs(tmp_path, how):
    import os

    mark = tmp_path / "ran"
    payload = {
        "touch": Payload(pathlib.Path.touch, mark),
        "system": Payload(os.system, f"touch {mark}"),
        "exec": Payload(exec, f"open({str(mark)!r}, 'w').close()"),
    }[how]
    state = build(VIT, 1).model.state_dict()
    torch.save({"model": state, "x": payload}, tmp_path / "weights.pth")
    with pytest.raises(UsageError, match="holds pickled Python objects, which can run code"):
        load_weights(build(VIT), tmp_path / "weights.pth")
    assert not mark.exists()
    torch.load(tmp_path / "weights.pth", weights_only=False)
    assert mark.exists()  # the payload was a real one


def test_a_function_of_another_package_is_not_called(tmp_path):
    torch.save({"x": Payload(json.loads, "{"), "a": T}, tmp_path / "weights.pth")
    with pytest.raises(UsageError, match="has no tensor with a name of this encoder's"):
        load_weights(build(VIT), tmp_path / "weights.pth")


def test_a_plain_pickle_is_refused(tmp_path):
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps({"experiment_state": Anything()}))
    with pytest.raises(UsageError, match=r"weights.pkl"):
        load_weights(build(VIT), tmp_path / "weights.pkl")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("weights.pth", b"garbage", "is no torch file"),
        ("weights.pth", b"", "cannot be read"),
        ("weights.safetensors", b"garbage", "cannot be read"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        load_weights(build(VIT), tmp_path / name)
    assert "\n" not in str(caught.value)


def test_other_mistakes_are_one_line(tmp_path):
    with pytest.raises(UsageError, match="There is no file"):
        load_weights(build(VIT), tmp_path / "none.pth")
    torch.save([T], tmp_path / "list.pth")
    with pytest.raises(UsageError, match="holds a list, not named tensors"):
        load_weights(build(VIT), tmp_path / "list.pth")
    torch.save(Anything(), tmp_path / "object.pth")
    with pytest.raises(UsageError, match="holds a pickled object, not named tensors"):
        load_weights(build(VIT), tmp_path / "object.pth")
    torch.save({"a": T}, tmp_path / "other.pth")
    with pytest.raises(UsageError, match=r"There is no project 'mocco'\. Known: vissl"):
        load_weights(build(VIT), tmp_path / "other.pth", project="mocco")
