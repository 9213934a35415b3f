"""Official checkpoints, made small: the authors' keys around an encoder's tensors."""

import argparse
import pathlib
import pickle
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from timm.layers.pos_embed import resample_abs_pos_embed

from manyviews import encoders
from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.encoders import TimmConfig, ViTConfig, load_weights
from manyviews.encoders.weights import LAYOUTS

VIT = ViTConfig(input=Pixels(side=16), patch=4, width=16, depth=1, heads=2)
# Small enough to write 20 times, with the names of any timm ResNet.
RESNET = TimmConfig(name="test_resnet", input=Pixels(side=32))
T = torch.zeros(2)


def build(config, seed=0):
    torch.manual_seed(seed)
    return encoders.build(config)


def prefixed(state, prefix):
    return {prefix + k: v for k, v in state.items()}


def moco(state):
    tensors = prefixed(state, "module.encoder_q.") | prefixed(state, "module.encoder_k.")
    tensors = {k: v if "encoder_q" in k else v + 1 for k, v in tensors.items()}
    return {"epoch": 1, "state_dict": tensors | {"module.encoder_q.fc.0.weight": T, "queue": T}}


def vissl(state):
    trunk = prefixed(state, "_feature_blocks.")
    return {"classy_state_dict": {"base_model": {"model": {"trunk": trunk, "heads": {"x": T}}}}}


def dino(state):
    student = prefixed({k: v + 1 for k, v in state.items()}, "module.backbone.")
    teacher = prefixed(state, "backbone.") | {"head.mlp.0.weight": T}
    return {
        "student": student,
        "teacher": teacher,
        "args": argparse.Namespace(arch="x"),
        "epoch": 3,
    }


WRAPPERS = {
    "moco": (RESNET, moco),
    "mocov3": (
        VIT,
        lambda s: {
            "state_dict": prefixed(s, "module.base_encoder.")
            | {"module.base_encoder.head.0.weight": T, "module.predictor.0.weight": T}
        },
    ),
    "simsiam": (
        RESNET,
        lambda s: {"state_dict": prefixed(s, "module.encoder.") | {"module.encoder.fc.0.bias": T}},
    ),
    "swav": (
        RESNET,
        lambda s: prefixed(s | {"projection_head.0.weight": T, "prototypes.weight": T}, "module."),
    ),
    "dino": (VIT, dino),
    "ibot": (VIT, lambda s: {"state_dict": s | {"masked_embed": T}}),
    "msn": (
        VIT,
        lambda s: {
            "target_encoder": prefixed(s | {"fc.fc1.weight": T}, "module."),
            "encoder": prefixed(s, "module."),
        },
    ),
    "mae": (VIT, lambda s: {"model": s | {"mask_token": T, "decoder_embed.weight": T}}),
    "npid": (RESNET, lambda s: {"state_dict": prefixed(s | {"fc.weight": T}, "module.")}),
    "vissl": (RESNET, vissl),
    "solo": (RESNET, lambda s: {"state_dict": prefixed(s, "backbone.") | {"projector.0.bias": T}}),
    "barlow": (RESNET, lambda s: s | {"fc.weight": T}),
    "timm": (VIT, lambda s: s | {"head.weight": T, "head.bias": T}),
}


@pytest.mark.parametrize("method", WRAPPERS)
@pytest.mark.parametrize("how", ["auto", "named"])
def test_official_layouts_load_whole(tmp_path, method, how):
    config, wrap = WRAPPERS[method]
    trained, encoder = build(config, 1), build(config, 2)
    path = tmp_path / "weights.pth"
    torch.save(wrap(trained.model.state_dict()), path)
    loaded = load_weights(encoder, path, method if how == "named" else "auto")
    for name, value in trained.model.state_dict().items():
        assert torch.equal(encoder.model.state_dict()[name], value), name
    assert loaded.tensors == len(trained.model.state_dict())
    assert not loaded.resized
    if how == "named":
        assert loaded.method == method


def test_every_layout_names_a_method():
    assert set(WRAPPERS) < set(LAYOUTS)


def test_positions_are_interpolated_to_the_grid(tmp_path):
    small, large = build(VIT, 1), build(replace(VIT, input=Pixels(side=32)), 2)
    with torch.no_grad():
        small.model.pos_embed.normal_()
    safetensors.torch.save_file(small.model.state_dict(), tmp_path / "weights.safetensors")
    assert load_weights(large, tmp_path / "weights.safetensors").resized
    wanted = resample_abs_pos_embed(small.model.pos_embed, [8, 8], [4, 4])
    assert torch.equal(large.model.pos_embed, wanted)
    assert torch.equal(large.model.norm.weight, small.model.norm.weight)


def test_dinov2_register_checkpoints_become_timms(tmp_path):
    config = ViTConfig(
        name="vit_small_patch14_reg4_dinov2", input=Pixels(side=28), width=16, depth=1, heads=2
    )
    trained, encoder = build(config, 1), build(config, 2)
    state = dict(trained.model.state_dict())
    state["register_tokens"] = state.pop("reg_token")
    row = torch.randn(1, 1, 16)  # of the position table, for the class token
    wanted = state["cls_token"].clone()
    state["cls_token"] = wanted - row
    state["pos_embed"] = torch.cat([row, state["pos_embed"]], dim=1)
    torch.save(state | {"mask_token": T}, tmp_path / "weights.pth")
    assert load_weights(encoder, tmp_path / "weights.pth").method == "dinov2"
    assert torch.allclose(encoder.model.cls_token, wanted, atol=1e-6)
    assert torch.equal(encoder.model.pos_embed, trained.model.pos_embed)
    assert torch.equal(encoder.model.reg_token, trained.model.reg_token)


def test_old_files_without_batch_counters_load(tmp_path):
    state = build(RESNET, 1).model.state_dict()
    old = {k: v for k, v in state.items() if "num_batches_tracked" not in k}
    torch.save(old, tmp_path / "weights.pth")
    assert load_weights(build(RESNET), tmp_path / "weights.pth").tensors == len(old)


def test_weights_of_another_encoder_change_nothing_and_say_what_differs(tmp_path):
    encoder = build(VIT)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    other = build(replace(VIT, width=32), 1).model.state_dict()
    torch.save({"model": other}, tmp_path / "weights.pth")
    with pytest.raises(
        UsageError, match=r"read as \w+, \d+ tensors differ: .* instead of"
    ) as caught:
        load_weights(encoder, tmp_path / "weights.pth")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_one_tensor_too_few_or_too_many_is_refused(tmp_path, change):
    state = dict(build(VIT, 1).model.state_dict())
    if change == "missing":
        del state["norm.bias"]
    else:
        state["blocks.7.norm1.bias"] = T
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(UsageError, match=f"1 tensors differ: .* is {change}"):
        load_weights(build(VIT), tmp_path / "weights.pth")


class Payload:
    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def test_code_in_a_pickle_is_refused_and_never_runs(tmp_path):
    mark = tmp_path / "ran"
    torch.save({"model": Payload(mark)}, tmp_path / "weights.pth")
    with pytest.raises(UsageError, match="holds pickled Python objects, which can run code"):
        load_weights(build(VIT), tmp_path / "weights.pth")
    assert not mark.exists()
    torch.load(tmp_path / "weights.pth", weights_only=False)
    assert mark.exists()  # the payload was a real one


def test_a_plain_pickle_is_refused(tmp_path):
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps({"experiment_state": Payload(tmp_path)}))
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
    torch.save({"a": T}, tmp_path / "other.pth")
    with pytest.raises(UsageError, match=r"where a moco checkpoint has its encoder .*keys: a\)"):
        load_weights(build(VIT), tmp_path / "other.pth", "moco")
    with pytest.raises(UsageError, match=r"no checkpoint layout 'mocco'\. Known: timm"):
        load_weights(build(VIT), tmp_path / "other.pth", "mocco")
