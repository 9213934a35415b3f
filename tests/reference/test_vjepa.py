"""V-JEPA against arrays made with facebookresearch/jepa: weights, predictions, loss, gradients."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from manyviews import encoders
from manyviews.core import Batch, Clock
from manyviews.core.inputs import Frames, Pixels
from manyviews.encoders.settings import TubeletsConfig, ViTConfig
from manyviews.losses.reconstruction import blockwise_l1
from manyviews.methods.masked.vjepa import VJEPA, VJEPAConfig
from tiny import TinyViT, batch_for, given

SAVED = {
    k: torch.from_numpy(v) for k, v in np.load(Path(__file__).parent / "data" / "vjepa.npz").items()
}
PLACES = {"e.": "online.", "p.": "predictor.", "t.": "target.copy."}
TOKENS = 12


def brought_over(prefix, *kinds):
    """The authors' tensors under our names; their mask tokens are one of ours."""
    found = {
        PLACES[kind] + k.removeprefix(prefix + kind): v
        for kind in kinds
        for k, v in SAVED.items()
        if k.startswith(prefix + kind)
    }
    asked = [found.pop(f"predictor.mask_tokens.{i}") for i in range(2)]
    return found | {"predictor.mask_token": torch.cat(asked)}


def authors_model():
    fed = Frames(side=16, frames=6, rate=8.0)
    sizes = {"tubelet": 2, "patch": 8, "width": 12, "depth": 1, "heads": 2}
    encoder = encoders.build(TubeletsConfig(input=fed, positions="grid", **sizes))
    method = VJEPA(given(encoder), VJEPAConfig(width=18, depth=1, heads=2))
    weights = brought_over("", "e.", "p.", "t.")
    state = method.state_dict()
    for table in ("online.pos_embed", "predictor.predictor_pos_embed"):
        torch.testing.assert_close(state[table], weights[table], rtol=0, atol=1e-6)
    assert not state["predictor.mask_token"].any()
    method.load_state_dict(weights)
    return method.double().train()


def authors_batch():
    def sets(kind):
        masks = torch.zeros(3, 2, TOKENS, dtype=torch.bool)
        for i in range(2):
            masks[:, i].scatter_(1, SAVED[f"{kind}.{i}"], value=True)
        return masks[:, None]

    cues = {"global.contexts": sets("context"), "global.targets": sets("targets")}
    return Batch({"global": SAVED["clips"].double()[:, None]}, torch.arange(3), cues)


def test_the_whole_model_has_the_loss_and_the_gradients_of_the_authors_code():
    method = authors_model()
    step = method(authors_batch(), Clock(0, 1))
    step.total.backward()
    torch.testing.assert_close(step.total.detach(), SAVED["loss"], rtol=1e-8, atol=0)
    gradients = brought_over("g.", "e.", "p.")
    parameters = {k: p for k, p in method.named_parameters() if p.requires_grad}
    assert set(gradients) == set(parameters)
    for key, expected in gradients.items():
        got = parameters[key].grad
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-8, msg=f"gradient of {key}")


def test_predictions_of_each_set_are_those_of_the_authors_code():
    method, clips = authors_model(), SAVED["clips"].double()
    for i in range(2):
        keep, wanted = SAVED[f"context.{i}"], SAVED[f"targets.{i}"][:, None]
        present = torch.ones_like(wanted, dtype=torch.bool)
        tokens = method.online(clips, keep=keep).tokens
        made = method.predictor(tokens, keep, wanted, present, question=i)[:, 0]
        torch.testing.assert_close(made, SAVED[f"prediction.{i}"], rtol=1e-6, atol=1e-8)


def test_the_loss_and_its_gradient_are_the_formula():
    g = torch.Generator().manual_seed(0)
    target = torch.randn(2, 1, 3, 4, generator=g).double()
    made = torch.randn(2, 1, 3, 4, generator=g).double().requires_grad_()
    present = torch.tensor([[[1, 1, 0]], [[1, 1, 1]]]).bool()
    parts = [(made - target)[b, 0][present[b, 0]].abs().mean() for b in range(2)]
    loss, expected = blockwise_l1(made, target, present), sum(parts) / 2
    got, wanted = (torch.autograd.grad(x, made, retain_graph=True)[0] for x in (loss, expected))
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        blockwise_l1(made, target, torch.ones_like(present)), F.l1_loss(made, target)
    )


def test_the_target_sees_the_whole_view_and_the_online_encoder_its_contexts():
    torch.manual_seed(0)
    method = VJEPA(given(TinyViT()), VJEPAConfig(width=24, depth=1, heads=2, questions=3))
    torch.nn.init.normal_(method.predictor.mask_token)
    batch, kept = batch_for(VJEPA), []
    method.predictor.register_forward_hook(lambda m, i, o: kept.append(o))
    first = method(batch, Clock(0, 1)).total
    shown = batch.cues["global.contexts"].any(dim=2)
    cover = ~shown.view(8, 2, 1, 4, 4).repeat_interleave(4, 3).repeat_interleave(4, 4)
    batch.views["global"].add_(torch.randn_like(batch.views["global"]) * cover)
    second = method(batch, Clock(0, 1)).total
    for before, after in zip(kept[:3], kept[3:], strict=True):
        torch.testing.assert_close(before, after)
    assert first != second
    assert method.encoder is method.target.copy


def test_the_target_encoder_follows_slowly_and_drops_nothing_out():
    sizes = {"patch": 4, "width": 16, "depth": 2, "heads": 2, "drop_path": 0.5}
    encoder = encoders.build(ViTConfig(input=Pixels(side=16), **sizes))
    method = VJEPA(given(encoder), VJEPAConfig(width=24, depth=1, heads=2)).train()
    views = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        for p in method.online.parameters():
            p.add_(1.0)
    before = {k: v.clone() for k, v in method.target.copy.named_parameters()}
    method.after_step(Clock(0, 10))
    for name, p in method.target.copy.named_parameters():
        torch.testing.assert_close(p, before[name] + 0.002, rtol=0, atol=1e-5)
    assert torch.equal(method.target(views).tokens, method.target(views).tokens)
    assert not torch.equal(method.online(views).tokens, method.online(views).tokens)
