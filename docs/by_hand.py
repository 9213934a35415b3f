"""SimCLR by hand, with manyviews' parts. Run: python docs/by_hand.py 200."""

import sys

import torch
import torch.nn.functional as F

from manyviews.core.inputs import Pixels
from manyviews.data.loader import batches
from manyviews.data.sources import open_source
from manyviews.encoders import ResNetSmallConfig, build
from manyviews.losses.contrastive import nt_xent
from manyviews.parts.heads import mlp
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Crops

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 200
source = open_source("builtin:fashion", channels=1, max_pixels=10_000)
fed = Pixels(side=28, channels=1, mean=(0.28,), std=(0.35,))
encoder = build(ResNetSmallConfig(input=fed))
crops = Crops(scale=(0.3, 1.0), saturation=0.0, hue=0.0, blur=(0.0,))
pipeline = Pipeline({"global": crops}, {"image": Fed(fed)}, seed=0)
projector = mlp([encoder.dim, 512, 128])
optimiser = torch.optim.AdamW([*encoder.parameters(), *projector.parameters()], lr=2e-3)

stream = batches(
    source, pipeline, seed=0, global_batch=128, start_step=0, stop_step=steps, on_bad=lambda _: None
)
for step, [raw] in enumerate(stream):
    batch = pipeline.finish(raw.views, raw.cues, raw.index, torch.device("cpu"))
    images = batch.views["global"].flatten(0, 1)  # [B*2, 1, 28, 28]
    z = F.normalize(projector(encoder(images).pooled), dim=1).unflatten(0, (-1, 2))
    loss = nt_xent(z, temperature=0.2)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if step % 20 == 0:
        print(f"step {step}: loss {loss.item():.3f}")
