"""SimCLR by hand, with manyviews' parts. Run: python docs/by_hand.py 200."""

import sys

import torch
import torch.nn.functional as F

from manyviews.data.loader import batches
from manyviews.data.sources import open_source
from manyviews.encoders import EncoderConfig, build
from manyviews.losses.contrastive import nt_xent
from manyviews.parts.heads import mlp
from manyviews.views import normalise
from manyviews.views.image.engine import Engine
from manyviews.views.plan import Crops, Views

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 200
source = open_source("builtin:fashion", channels=1, max_pixels=10_000)
crops = Crops(size=28, scale=(0.3, 1.0), saturation=0.0, hue=0.0, blur=(0.0,))
engine = Engine(Views(global_=crops), channels=1, seed=0)
encoder = build(EncoderConfig(name="resnet_small", image_size=28, channels=1))
projector = mlp([encoder.dim, 512, 128])
optimiser = torch.optim.AdamW([*encoder.parameters(), *projector.parameters()], lr=2e-3)

stream = batches(
    source, engine, seed=0, global_batch=128, start_step=0, stop_step=steps, on_bad=lambda bad: None
)
for step, [raw] in enumerate(stream):
    images = normalise(raw.views["global"], (0.28,), (0.35,)).flatten(0, 1)  # [B*2, 1, 28, 28]
    z = F.normalize(projector(encoder(images).pooled), dim=1).unflatten(0, (-1, 2))
    loss = nt_xent(z, temperature=0.2)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if step % 20 == 0:
        print(f"step {step}: loss {loss.item():.3f}")
