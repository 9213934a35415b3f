"""data2vec against its formula and against numbers of the authors' code (data/README.md)."""

from pathlib import Path

import numpy as np
import torch

from manyviews import encoders
from manyviews.core import Batch, Clock
from manyviews.core.inputs import Pixels
from manyviews.core.schedules import Ramp
from manyviews.encoders.settings import ViTConfig
from manyviews.losses.reconstruction import masked_smooth_l1
from manyviews.methods.masked.data2vec import Data2Vec, Data2VecConfig, averaged
from tiny import TinyViT, given, make_batch

SAVED = {
    k: torch.from_numpy(v)
    for k, v in np.load(Path(__file__).parent / "data" / "data2vec.npz").items()
}


def brought_over(prefix, into):
    """The authors' tensors under our names: biases of queries and values apart."""
    theirs = {k.removeprefix(prefix): v for k, v in SAVED.items() if k.startswith(prefix)}
    ours = {}
    for key, value in theirs.items():
        if key.startswith("lm_head."):
            ours[key.replace("lm_head", "head")] = value
        elif key == "mask_token":
            ours["mask_token"] = value.flatten()
        elif key.endswith("q_bias"):
            other = theirs[key.replace("q_bias", "v_bias")]
            bias = torch.cat([value, torch.zeros_like(value), other])
            ours[f"{into}.model.{key.replace('q_bias', 'qkv.bias')}"] = bias
        elif not key.endswith("v_bias"):
            ours[f"{into}.model.{key}"] = value
    return ours


def authors_model():
    vit = ViTConfig(input=Pixels(side=16), patch=4, width=8, depth=3, heads=2)
    config = Data2VecConfig(average=2, beta=0.5, momentum=Ramp(0.9, 0.9))
    method = Data2Vec(given(encoders.build(vit)), config)
    teacher = brought_over("t.", "target.copy")
    teacher = {k: v for k, v in teacher.items() if k.startswith("target.")}
    method.load_state_dict(brought_over("p.", "online") | teacher)
    return method.double().train()


def authors_batch():
    images = SAVED["images"].double()[:, None]
    return Batch({"global": images}, torch.arange(3), {"global.mask": SAVED["mask"][:, None]})


def test_the_whole_model_has_the_loss_and_the_gradients_of_the_authors_code():
    method = authors_model()
    step = method(authors_batch(), Clock(0, 1))
    step.total.backward()
    torch.testing.assert_close(step.total.detach(), SAVED["loss"], rtol=1e-9, atol=0)
    gradients = brought_over("g.", "online")
    parameters = {k: p for k, p in method.named_parameters() if p.requires_grad}
    assert set(gradients) == set(parameters)
    for key, expected in gradients.items():
        got = parameters[key].grad
        if key.endswith("qkv.bias"):  # theirs has no bias of keys, of which no loss depends
            got = torch.cat([got[:8], torch.zeros(8).double(), got[16:]])
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9, msg=f"gradient of {key}")


def test_the_teacher_moves_as_the_authors_does():
    method = authors_model()
    method.after_step(Clock(0, 1))
    torch.testing.assert_close(
        method.target.copy.model.patch_embed.proj.weight, SAVED["after"], rtol=1e-7, atol=1e-9
    )


def normed(row):
    """One token less its mean over its deviation; biased variance."""
    mean = sum(row) / len(row)
    variance = sum((x - mean) ** 2 for x in row) / len(row)
    return [(x - mean) / (variance + 1e-5) ** 0.5 for x in row]


def test_targets_are_normed_before_and_after_the_mean():
    g = torch.Generator().manual_seed(0)
    blocks = tuple(torch.randn(1, 2, 5, generator=g).double() * (k + 1) for k in range(3))
    for n in range(2):
        rows = [normed(block[0, n].tolist()) for block in blocks]
        expected = normed([sum(column) / 3 for column in zip(*rows, strict=True)])
        torch.testing.assert_close(
            averaged(blocks)[0, n],
            torch.tensor(expected, dtype=torch.float64),
            rtol=1e-9,
            atol=1e-9,
        )


def test_the_loss_and_its_gradient_are_the_formula():
    g = torch.Generator().manual_seed(0)
    target = torch.randn(2, 4, 6, generator=g).double()
    prediction = torch.randn(2, 4, 6, generator=g).double().requires_grad_()
    mask = torch.tensor([[1, 0, 1, 0], [0, 1, 1, 0]]).bool()
    loss = masked_smooth_l1(prediction, target, mask, beta=2.0)
    errors = (prediction - target)[mask].flatten()
    parts = [0.25 * d**2 if abs(d) < 2 else abs(d) - 1 for d in errors]
    expected = sum(parts) / len(parts)
    assert 0 < sum(abs(d) >= 2 for d in errors) < len(errors)
    got, wanted = (
        torch.autograd.grad(x, prediction, retain_graph=True)[0] for x in (loss, expected)
    )
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)
    assert not got[~mask].any()


def test_the_teacher_sees_the_whole_image_and_the_student_does_not():
    torch.manual_seed(0)
    method = Data2Vec(given(TinyViT()), Data2VecConfig(average=2))
    batch, kept = make_batch(0, local=0), []
    method.head.register_forward_hook(lambda m, i, o: kept.append(o))
    first = method(batch, Clock(0, 1)).total
    hidden = batch.cues["global.mask"].flatten(0, 1)
    cover = hidden.view(8, 2, 1, 4, 4).repeat_interleave(4, 3).repeat_interleave(4, 4)
    batch.views["global"].add_(torch.randn_like(batch.views["global"]) * cover)
    second = method(batch, Clock(0, 1)).total
    assert torch.equal(*kept)
    assert first != second
