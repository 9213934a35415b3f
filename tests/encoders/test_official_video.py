"""Published transformers on clips, with random weights in the authors' definitions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from manyviews import encoders
from manyviews.core import Unsupported, UsageError
from manyviews.core.inputs import Frames
from manyviews.encoders import load_weights
from manyviews.encoders.divided import DividedBlock
from manyviews.encoders.settings import TubeletsConfig

DATA = Path(__file__).parent.parent / "reference" / "data" / "video_vits.npz"
SAVED = {name: torch.from_numpy(array) for name, array in np.load(DATA).items()}
FED = Frames(side=16, frames=4, rate=8.0)
CLIP = SAVED["clip"]


def built(seed=5, **change):
    torch.manual_seed(seed)
    sizes = {"tubelet": 2, "patch": 8, "width": 16, "depth": 2, "heads": 2, "input": FED}
    return encoders.build(TubeletsConfig(**sizes | change)).eval()


def weights(kind):
    return {k.removeprefix(f"{kind}.w."): v for k, v in SAVED.items() if k.startswith(f"{kind}.w.")}


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


VIDEOMAE = weights("videomae")
VJEPA = {
    "target_encoder": under("module.backbone.", weights("vjepa")),
    "encoder": under("module.backbone.", {k: v + 1 for k, v in weights("vjepa").items()}),
    "predictor": {"module.backbone.mask_tokens.0": torch.ones(1, 1, 8)},
}
MAE_ST = weights("mae_st") | {"decoder_norm.weight": torch.ones(8), "mask_token": torch.ones(8)}
FILES = {
    "videomae": ({"model": under("encoder.", VIDEOMAE) | {"mask_token": torch.ones(8)}}, {}),
    "vjepa": (VJEPA, {"positions": "grid"}),
    "mae_st": ({"model": MAE_ST}, {"positions": "learned", "class_token": True}),
}


@pytest.mark.parametrize("kind", FILES)
def test_tokens_are_those_of_the_authors_network(kind, tmp_path):
    file, change = FILES[kind]
    torch.save(file, tmp_path / "weights.pth")
    encoder = built(**change)
    encoder.heads = 2
    loaded = load_weights(encoder, tmp_path / "weights.pth")
    assert loaded.project == kind
    torch.testing.assert_close(encoder(CLIP).tokens, SAVED[f"{kind}.tokens"], rtol=1e-5, atol=1e-5)


def test_kept_tokens_are_those_of_vjepas_encoder(tmp_path):
    torch.save(VJEPA, tmp_path / "weights.pth")
    encoder = built(positions="grid")
    load_weights(encoder, tmp_path / "weights.pth")
    found = encoder(CLIP, keep=SAVED["keep"]).tokens
    torch.testing.assert_close(found, SAVED["vjepa.kept"], rtol=1e-5, atol=1e-5)


def test_vjepas_positions_are_made_as_the_file_has_them():
    torch.testing.assert_close(
        built(positions="grid").pos_embed, weights("vjepa")["pos_embed"], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_another_network_is_refused(kind, tmp_path):
    torch.save(FILES[kind][0], tmp_path / "weights.pth")
    other = {"videomae": {"depth": 3}, "vjepa": {}, "mae_st": {"positions": "learned"}}[kind]
    with pytest.raises(UsageError, match=r"holds another encoder|is not whole"):
        load_weights(built(**other), tmp_path / "weights.pth")


def test_other_heads_than_the_projects_are_refused(tmp_path):
    encoder = built(width=384, depth=1, heads=12)
    state = encoder.state_dict()
    bias = state.pop("blocks.0.attn.qkv.bias")
    state |= {f"blocks.0.attn.{kind}_bias": bias[:384] for kind in "qv"}
    torch.save({"model": under("encoder.", state)}, tmp_path / "weights.pth")
    with pytest.raises(UsageError, match="VideoMAE trained ViTs of width 384 with 6 heads"):
        load_weights(encoder, tmp_path / "weights.pth")
    load_weights(built(width=384, depth=1, heads=6), tmp_path / "weights.pth")


def test_a_divided_block_is_that_of_timesformer():
    block = DividedBlock(16, 2, mlp_ratio=4.0, qkv_bias=True, times=2, places=4).eval()
    block.load_state_dict(weights("divided"))
    found = block(SAVED["divided.in"])
    torch.testing.assert_close(found, SAVED["divided.out"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("class_token", [False, True])
def test_divided_attention_sees_all_times_of_a_place_and_all_places_of_a_time(class_token):
    encoder = built(attention="divided", depth=1, class_token=class_token)
    changed = CLIP.clone()
    changed[:, :, :2, :8, :8] += 1  # time 0, place 0
    with torch.no_grad():
        moved = (encoder(changed).tokens - encoder(CLIP).tokens).abs().amax(dim=(0, 2))
    assert (moved > 1e-6).all()  # by way of place 0 at time 1
    quiet = built(attention="divided", depth=2)
    assert not quiet.blocks[1].temporal_fc.weight.any()
    with pytest.raises(Unsupported, match=r"--encoder\.attention joint"):
        encoder(CLIP, keep=torch.tensor([[0], [1]]))


@pytest.mark.parametrize(
    "change",
    [
        {"attention": "divided"},
        {"attention": "divided", "class_token": True, "positions": "learned"},
        {"positions": "learned"},
        {"positions": "grid", "class_token": True},
    ],
    ids=str,
)
def test_every_parameter_gets_a_gradient_and_has_a_depth(change):
    encoder = built(**change).train()
    for block in encoder.blocks[1:] if encoder.divided else []:
        torch.nn.init.normal_(block.temporal_fc.weight)
    features = encoder(CLIP, blocks=1)
    assert features.tokens.shape == features.hidden[0].shape == (2, 8, 16)
    assert (features.class_token is None) == (encoder.cls_token is None)
    features.pooled.square().sum().backward()
    for name, p in encoder.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name
    listed = [id(p) for layer in encoder.by_depth() for p in layer]
    rest = [name for name, p in encoder.named_parameters() if id(p) not in listed]
    assert rest == ["norm.weight", "norm.bias"]
    assert len(listed) == len(set(listed))
