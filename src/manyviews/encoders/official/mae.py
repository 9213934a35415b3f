"""MAE: the decoder lies beside the encoder."""

from manyviews.encoders.official.project import Project, has

PROJECT = Project(
    title="MAE",
    source="facebookresearch/mae models_mae.py, util/pos_embed.py, main_linprobe.py",
    recognise=lambda found: has(found, r"(^|[./])(decoder_embed|decoder_blocks|decoder_pos_embed)"),
    files=("mae_pretrain_vit*", "mae_visualize_vit*", "mae_finetuned_vit*"),
    places=("model/",),
    heads={768: 12, 1024: 16, 1280: 16},
    interpolation="mae",
)
