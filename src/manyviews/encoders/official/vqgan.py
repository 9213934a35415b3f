"""The VQGAN that MAGE is fed, alone in a file: its encoder and its codes' vectors."""

from manyviews.encoders.official.project import Found, Project, has


def _recognise(found: Found) -> bool:
    alone = not has(found, r"token_emb\.word_embeddings")
    return alone and has(found, r"(^|[./])quantize\.embedding\.weight$", r"encoder\.conv_in\.")


def _spelling(name: str) -> tuple[str, ...]:
    if name == "codebook.weight":
        return ("quantize.embedding.weight",)
    return (f"encoder.{name}",)


PROJECT = Project(
    title="VQGAN",
    source="LTH14/mage taming/models/vqgan.py",
    recognise=_recognise,
    files=("vqgan_jax*",),
    spelling=_spelling,
    side=256,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)
