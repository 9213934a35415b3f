"""I-JEPA against its formula and against numbers of the authors' code (data/README.md)."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

from manyviews.core import Batch, Clock
from manyviews.core.inputs import Pixels
from manyviews.encoders.vit import ViT
from manyviews.losses.reconstruction import blockwise_smooth_l1
from manyviews.methods.masked.ijepa import IJEPA, IJEPAConfig
from manyviews.parts.predictor import Predictor
from tiny import TinyViT, batch_for, given

SAVED = {
    k: torch.from_numpy(v) for k, v in np.load(Path(__file__).parent / "data" / "ijepa.npz").items()
}
PLACES = {"e.": "online.model.", "p.": "predictor.", "t.": "target.copy.model."}


def brought_over(prefix, *kinds):
    """The authors' tensors under our names."""
    return {
        PLACES[kind] + k.removeprefix(prefix + kind): v
        for kind in kinds
        for k, v in SAVED.items()
        if k.startswith(prefix + kind)
    }


def authors_model():
    model = VisionTransformer(
        img_size=16,
        patch_size=4,
        embed_dim=8,
        depth=2,
        num_heads=2,
        num_classes=0,
        class_token=False,
        global_pool="avg",
        fc_norm=False,
        dynamic_img_size=True,
    )
    encoder = ViT(model, positions="sincos", pool="mean")
    encoder.input = Pixels(side=16)
    method = IJEPA(given(encoder), IJEPAConfig(width=12, depth=2, heads=2))
    weights = brought_over("", "e.", "p.", "t.")
    state = method.state_dict()
    for table in ("online.model.pos_embed", "predictor.predictor_pos_embed"):
        torch.testing.assert_close(state[table], weights[table], rtol=0, atol=1e-7)
    method.load_state_dict(weights)
    return method.double().train()


def authors_batch():
    context = torch.zeros(3, 16, dtype=torch.bool).scatter(1, SAVED["context"], value=True)
    targets = torch.zeros(3, 4, 16, dtype=torch.bool).scatter(2, SAVED["targets"], value=True)
    cues = {"global.context": context[:, None], "global.targets": targets[:, None]}
    return Batch({"global": SAVED["images"].double()[:, None]}, torch.arange(3), cues)


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


def test_predictions_are_those_of_the_authors_code():
    method, images = authors_model(), SAVED["images"].double()
    tokens = method.online(images, keep=SAVED["context"]).tokens
    present = torch.ones_like(SAVED["targets"], dtype=torch.bool)
    made = method.predictor(tokens, SAVED["context"], SAVED["targets"], present)
    torch.testing.assert_close(made, SAVED["prediction"], rtol=1e-6, atol=1e-8)


def test_places_that_only_fill_up_change_nothing():
    torch.manual_seed(0)
    predictor = Predictor(8, grid=(4, 4), width=12, depth=2, heads=2).double()
    tokens, keep = torch.randn(2, 3, 8).double(), torch.tensor([[0, 3, 5], [1, 2, 9]])
    wanted = torch.tensor([[[4, 6]], [[7, 8]]])
    short = predictor(tokens, keep, wanted, torch.ones(2, 1, 2, dtype=torch.bool))
    longer = torch.cat([wanted, torch.tensor([[[11]], [[12]]])], dim=2)
    present = torch.tensor([[[True, True, False]]]).expand(2, 1, 3)
    filled = predictor(tokens, keep, longer, present)
    torch.testing.assert_close(filled[:, :, :2], short, rtol=1e-9, atol=1e-12)
    heard = predictor(tokens, keep, longer, torch.ones(2, 1, 3, dtype=torch.bool))
    assert not torch.allclose(heard[:, :, :2], short)


def test_the_loss_and_its_gradient_are_the_formula():
    g = torch.Generator().manual_seed(0)
    target = torch.randn(2, 2, 3, 4, generator=g).double()
    made = (2 * torch.randn(2, 2, 3, 4, generator=g)).double().requires_grad_()
    present = torch.tensor([[[1, 1, 0], [1, 0, 0]], [[1, 1, 1], [1, 1, 0]]]).bool()
    blocks = []
    for b in range(2):
        for m in range(2):
            errors = (made - target)[b, m][present[b, m]].flatten()
            parts = [0.5 * d**2 if abs(d) < 1 else abs(d) - 0.5 for d in errors]
            blocks.append(sum(parts) / len(parts))
    expected, loss = sum(blocks) / 4, blockwise_smooth_l1(made, target, present)
    got, wanted = (torch.autograd.grad(x, made, retain_graph=True)[0] for x in (loss, expected))
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)
    whole = torch.ones_like(present)
    same = F.smooth_l1_loss(made, target)
    torch.testing.assert_close(blockwise_smooth_l1(made, target, whole), same)


def test_the_target_sees_the_whole_image_and_the_online_encoder_its_context():
    torch.manual_seed(0)
    method = IJEPA(given(TinyViT()), IJEPAConfig(width=16, depth=1, heads=2))
    batch, kept = batch_for(IJEPA), []
    method.predictor.register_forward_hook(lambda m, i, o: kept.append(o))
    first = method(batch, Clock(0, 1)).total
    shown = batch.cues["global.context"]
    cover = ~shown.view(8, 2, 1, 4, 4).repeat_interleave(4, 3).repeat_interleave(4, 4)
    batch.views["global"].add_(torch.randn_like(batch.views["global"]) * cover)
    second = method(batch, Clock(0, 1)).total
    torch.testing.assert_close(*kept)
    assert first != second
    assert method.encoder is method.target.copy
