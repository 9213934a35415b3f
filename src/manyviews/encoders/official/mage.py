"""MAGE: a table of codes, classes and a mask; the tokenizer lies beside the transformer."""

import re

from manyviews.encoders.official.project import Project, has


def _spelling(name: str) -> tuple[str, ...]:
    name = re.sub(r"^tokenizer\.codebook\.", "vqgan.quantize.embedding.", name)
    name = re.sub(r"^tokenizer\.", "vqgan.encoder.", name)
    name = re.sub(r"^words\.", "token_emb.word_embeddings.", name)
    name = re.sub(r"^positions$", "token_emb.position_embeddings.weight", name)
    return (re.sub(r"^norm_pre\.", "token_emb.LayerNorm.", name),)


PROJECT = Project(
    title="MAGE",
    source="LTH14/mage models_mage.py, models_vit_mage.py, taming/models/vqgan.py",
    recognise=lambda found: has(found, r"token_emb\.word_embeddings", r"vqgan\.quantize\."),
    files=("mage-vit*", "mage_vit*"),
    places=("model/",),
    spelling=_spelling,
    heads={768: 12, 1024: 16},
    side=256,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)
