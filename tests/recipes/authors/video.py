"""What the authors' code says of recipes in `recipes/video/`."""

import math

from authors.table import OFF, PIXELS, Row, anywhere, at, jitter


def _clips(yaml: str, lines: dict[str, int], *, lr: float) -> list[Row]:
    """What SlowFast's four files share; which line of a file says what."""
    at_line = {name: f"{yaml}:{line}" for name, line in lines.items()}
    frames = "encoders.video.input"
    return [
        (at_line["frames"], {f"{frames}.frames": 8}),
        (f"{at_line['rate']}, slowfast/config/defaults.py:720", {f"{frames}.rate": 30 / 8}),
        ("slowfast/config/defaults.py:687, 693", {f"{frames}.mean": [0.45] * 3}),
        ("slowfast/config/defaults.py:687, 693", {f"{frames}.std": [0.225] * 3}),
        ("slowfast/config/defaults.py:317", {"encoders.video.layers": 50}),
        ("slowfast/config/defaults.py:302", {"encoders.video.width": 64}),
        ("projects/contrastive_ssl/README.md:15-18, rho", at("global", count=2)),
        (at_line["scale"], at("global", scale=[0.2, 0.766])),
        (at_line["ratio"], at("global", ratio=[0.75, 1.3333])),
        ("slowfast/datasets/transform.py:1095", at("global", jitter=0.8)),
        (at_line["strengths"], at("global", brightness=0.6, contrast=0.6, saturation=0.6)),
        (at_line["hue"], at("global", hue=0.15)),
        (at_line["grey"], at("global", grey=0.2)),
        ("slowfast/datasets/transform.py:1098", at("global", blur=0.5, sigma=[0.1, 2.0])),
        ("slowfast/config/defaults.py:737", at("global", flip=0.5)),
        ("slowfast/datasets/decoder.py, clips at random times", anywhere("global")),
        ("ours: with antialiasing", at("global", interpolation="bilinear")),
        ("the paper, section 4: 64 GPUs of 8 clips", {"data.batch_size": 512}),
        (at_line["epochs"], {"train.epochs": 200}),
        (f"{at_line['lr']}, for one machine of 64 clips", {"optim.lr": lr, "optim.lr_per": 64}),
        (f"{at_line['warmup']}; slowfast/utils/lr_policy.py:21", OFF | {"optim.warmup": 35 / 200}),
        (f"{at_line['warmup']} and the next", {"optim.lr_start": 0.001 / lr}),
        ("slowfast/config/defaults.py:818", {"optim.lr_end": 0.0}),
        (at_line["momentum"], {"optim.momentum": 0.9}),
        ("slowfast/models/optimizer.py:61; ours: nor biases", {"optim.decay_all": False}),
    ]


def _rho_byol() -> list[Row]:
    yaml = "configs/contrastive_ssl/BYOL_SlowR50_8x8.yaml"
    lines = {"frames": 28, "rate": 29, "scale": 34, "ratio": 35, "grey": 38, "hue": 39}
    lines |= {"strengths": 40, "lr": 55, "epochs": 59, "momentum": 60, "warmup": 62}
    return [
        *_clips(yaml, lines, lr=0.6),
        (f"{yaml}:61", {"optim.weight_decay": 1e-6}),
        (f"{yaml}:56", {"optim.name": "lars"}),
        (f"{yaml}:17", {"method.out": 256}),
        (f"{yaml}:21", {"method.hidden": 4096}),
        (f"{yaml}:23, 24", {"method.momentum.start": 0.996, "method.momentum.end": 1.0}),
    ]


def _rho_moco() -> list[Row]:
    yaml = "configs/contrastive_ssl/MoCo_SlowR50_8x8.yaml"
    lines = {"frames": 26, "rate": 27, "scale": 30, "ratio": 31, "grey": 33, "hue": 35}
    lines |= {"strengths": 36, "lr": 50, "epochs": 53, "warmup": 54, "momentum": 55}
    return [
        *_clips(yaml, lines, lr=0.05),
        ("slowfast/config/defaults.py:845", {"optim.weight_decay": 1e-4}),
        (f"{yaml}:57", {"optim.name": "sgd"}),
        (f"{yaml}:10", {"method.out": 128}),
        (f"{yaml}:18", {"method.temperature": 0.1}),
        (f"{yaml}:19", {"method.layers": 3}),
        (f"{yaml}:20, each clip a query", {"method.symmetric": True}),
        ("slowfast/models/contrastive.py, no tiles", {"method.jigsaw": 0.0}),
        (f"{yaml}:22, 23", {"method.momentum.start": 0.994, "method.momentum.end": 1.0}),
        ("slowfast/config/defaults.py:33", {"method.queue": 65536}),
        ("slowfast/config/defaults.py:57, as wide as the encoder", {"method.hidden": 0}),
        ("the paper, section 4: 64 GPUs", {"method.norm_groups": 64}),
    ]


def _rho_simclr() -> list[Row]:
    yaml = "configs/contrastive_ssl/SimCLR_SlowR50_8x8.yaml"
    lines = {"frames": 24, "rate": 25, "scale": 30, "ratio": 31, "grey": 32, "hue": 33}
    lines |= {"strengths": 34, "lr": 48, "epochs": 54, "momentum": 55, "warmup": 57}
    return [
        *_clips(yaml, lines, lr=0.6),
        (f"{yaml}:56", {"optim.weight_decay": 1e-6}),
        (f"{yaml}:51", {"optim.name": "lars"}),
        (f"{yaml}:16", {"method.temperature": 0.1}),
        (f"{yaml}:17", {"method.out": 128}),
        (f"{yaml}:19", {"method.layers": 3}),
        ("slowfast/config/defaults.py:57, as wide as the encoder", {"method.hidden": 0}),
        ("slowfast/models/contrastive.py, the mean over both", {"method.sum_of_views": False}),
    ]


def _rho_swav() -> list[Row]:
    yaml = "configs/contrastive_ssl/SwAV_Slow_R50_8x8.yaml"
    lines = {"frames": 23, "rate": 24, "scale": 27, "ratio": 28, "grey": 31, "hue": 32}
    lines |= {"strengths": 33, "lr": 46, "epochs": 49, "momentum": 51, "warmup": 53}
    return [
        *_clips(yaml, lines, lr=0.6),
        (f"{yaml}:52", {"optim.weight_decay": 1e-6}),
        (f"{yaml}:50", {"optim.name": "lars"}),
        (f"{yaml}:16", {"method.temperature": 0.1}),
        (f"{yaml}:17", {"method.out": 128}),
        ("slowfast/config/defaults.py:57", {"method.hidden": 2048}),
        ("slowfast/models/contrastive.py:98", {"method.prototypes": 1000}),
        ("slowfast/models/contrastive.py:105", {"method.sharpness": 0.05}),
        ("slowfast/models/contrastive.py:634", {"method.rounds": 3}),
        ("slowfast/config/defaults.py:87", {"method.queue": 0}),
        ("slowfast/models/contrastive.py:1036, one epoch", {"method.frozen_until": 1 / 200}),
    ]


def _vjepa() -> list[Row]:
    yaml, frames = "configs/pretrain/vitl16.yaml", "encoders.video.input"
    cut = 0.5 * (1 + math.cos(math.pi * (300 - 40) / (375 - 40)))
    late = 0.5 * (1 + math.cos(math.pi * 300 / 375))
    return [
        (f"{yaml}:2, 3, 10", {"data.batch_size": 16 * 8 * 24}),
        (f"{yaml}:12", {f"{frames}.frames": 16, "encoders.video.tubelet": 2}),
        (f"{yaml}:14, of 30 a second", {f"{frames}.rate": 30 / 4}),
        (f"{yaml}:16", {"encoders.video.patch": 16}),
        (f"{yaml}:72, vit_large", {"encoders.video.width": 1024, "encoders.video.depth": 24}),
        ("src/models/vision_transformer.py, vit_large", {"encoders.video.heads": 16}),
        (f"{yaml}:75", {"encoders.video.positions": "grid"}),
        ("src/models/vision_transformer.py", {"encoders.video.attention": "joint"}),
        ("the same, no class token", {"encoders.video.class_token": False}),
        (f"{yaml}:73, 74", {"method.width": 384, "method.depth": 12}),
        ("app/vjepa/utils.py, num_heads of the encoder", {"method.heads": 16}),
        ("app/vjepa/utils.py, num_mask_tokens", {"method.questions": 2}),
        (f"{yaml}:88, over 1.25 times", {"method.momentum.start": 0.998}),
        (f"{yaml}:90, 80, cut", {"method.momentum.end": 0.998 + 0.002 / 1.25}),
        ("app/vjepa/train.py:302", {"method.momentum.fraction": 1.0}),
        ("the same, by step", {"method.momentum.by_epoch": False}),
        (f"{yaml}:38, 48", at("global", blocks=[8, 2])),
        (f"{yaml}:40, 50", at("global", area=[0.15, 0.7])),
        (f"{yaml}:36, 46", at("global", aspect=[0.75, 1.5])),
        ("ours: docs/methods/vjepa.md", at("global", shown=[0.2, 0.05])),
        ("src/masks/multiblock3d.py, blocks alone", at("global", **{"mask.ratio": 0.0})),
        (f"{yaml}:23, 24", at("global", ratio=[0.75, 1.35])),
        (f"{yaml}:26, 27", at("global", scale=[0.3, 1.0])),
        ("app/vjepa/transforms.py, horizontal flips", at("global", flip=0.5)),
        ("the same, no colours", at("global", jitter=0.0, grey=0.0, blur=0.0)),
        (
            "src/datasets/utils/video/transforms.py, bilinear",
            at("global", interpolation="bilinear"),
        ),
        (f"{yaml}:11, one clip a video", at("global", count=1)),
        ("src/datasets/video_dataset.py, anywhere", anywhere("global")),
        (f"{yaml}:79, 84, 300 times 300", {"train.steps": 300 * 300, "train.epochs": 0}),
        (f"{yaml}:81, 82", OFF | {"optim.clip": 10.0, "optim.weight_decay": 0.04}),
        (f"{yaml}:83, 80, cut", {"optim.weight_decay_end": 0.4 - 0.36 * late}),
        (f"{yaml}:85", {"optim.warmup": 40 / 300}),
        (f"{yaml}:86", {"optim.lr_start": 2e-4 / 6.25e-4}),
        (f"{yaml}:87", {"optim.lr": 6.25e-4, "optim.lr_per": 0}),
        (f"{yaml}:88, 80, cut", {"optim.lr_end": (1e-6 + (6.25e-4 - 1e-6) * cut) / 6.25e-4}),
        ("app/vjepa/utils.py, AdamW", {"optim.name": "adamw", "optim.betas": [0.9, 0.999]}),
        ("app/vjepa/utils.py, init_opt", {"optim.decay_all": False}),
    ]


def _videomae() -> list[Row]:
    run = "scripts/kinetics/videomae_vit_base_patch16_224_tubemasking_ratio_0.9_epoch_1600"
    run += "/pretrain.sh"
    frames = "encoders.video.input"
    return [
        (f"{run}:12, 13", at("global", **{"mask.kind": "tube", "mask.ratio": 0.9})),
        ("masking_generator.py, place by place", at("global", **{"mask.unit": 1})),
        (f"{run}:14", {"encoders.video.width": 768, "encoders.video.depth": 12}),
        (f"{run}:14, heads of 64 channels", {"encoders.video.heads": 0}),
        (f"{run}:14", {"encoders.video.patch": 16, "encoders.video.tubelet": 2}),
        ("modeling_finetune.py, get_sinusoid_encoding_table", {"encoders.video.positions": "row"}),
        ("modeling_finetune.py, Attention", {"encoders.video.attention": "joint"}),
        ("modeling_pretrain.py, no class token", {"encoders.video.class_token": False}),
        ("modeling_pretrain.py, pretrain_videomae_base", {"method.width": 384}),
        ("modeling_pretrain.py, pretrain_videomae_base", {"method.heads": 6}),
        (f"{run}:15", {"method.depth": 4}),
        ("modeling_pretrain.py, PretrainVisionTransformerDecoder", {"method.attention": "global"}),
        ("engine_for_pretraining.py:43", {"method.normalise_patches": True}),
        ("engine_for_pretraining.py:45", {"method.by_channel": True}),
        (
            "engine_for_pretraining.py, pixels",
            PIXELS,
        ),
        ("modeling_pretrain.py, hidden tokens are left out", {"method.token_inside": False}),
        (f"{run}:7, 16", {"data.batch_size": 64 * 32}),
        (f"{run}:17", {f"{frames}.frames": 16}),
        (f"{run}:18, of 30 a second", {f"{frames}.rate": 30 / 4}),
        (f"{run}:19, 20", {"optim.name": "adamw", "optim.betas": [0.9, 0.95]}),
        (f"{run}:21", OFF | {"optim.warmup": 40 / 1600}),
        (f"{run}:23", {"train.epochs": 1600}),
        ("run_mae_pretraining.py, --lr", {"optim.lr": 1.5e-4, "optim.lr_per": 256}),
        ("run_mae_pretraining.py, --warmup_lr", {"optim.lr_start": 1e-6 / 1.5e-4}),
        ("run_mae_pretraining.py, --min_lr", {"optim.lr_end": 1e-5 / 1.5e-4}),
        ("run_mae_pretraining.py, --weight_decay", {"optim.weight_decay": 0.05}),
        ("optim_factory.py:56", {"optim.decay_all": False}),
        ("kinetics.py, one clip anywhere", anywhere("global")),
        ("one clip a video", at("global", count=1)),
        ("ours: squares of any size from 0.66 of the side", at("global", scale=[0.66**2, 1.0])),
        ("ours: squares; theirs may be off by one step", at("global", ratio=[1.0, 1.0])),
        ("transforms.py:99", at("global", interpolation="bilinear")),
        ("datasets.py:15, nothing else", at("global", flip=0.0, jitter=0.0, grey=0.0, blur=0.0)),
    ]


def _cvrl() -> list[Row]:
    here = "official/projects/video_ssl/"
    yaml = f"{here}configs/experiments/cvrl_pretrain_k600_200ep.yaml"
    views, colours = (
        f"{here}dataloaders/video_ssl_input.py",
        f"{here}ops/video_ssl_preprocess_ops.py",
    )
    made, config = f"{views}, _process_image", f"{here}configs/video_ssl.py"
    frames = "encoders.video.input"
    return [
        (f"{yaml}:45", {f"{frames}.frames": 16}),
        (f"{yaml}:49, of 25 a second", {f"{frames}.rate": 12.5}),
        (f"{views}, pixels from 0 to 1", {f"{frames}.mean": [0.0], f"{frames}.std": [1.0]}),
        (f"{yaml}, model_id", {"encoders.video.layers": 50}),
        ("official/vision/modeling/backbones/resnet_3d.py", {"encoders.video.width": 64}),
        (f"{config}, temperature", {"method.temperature": 0.1}),
        (f"{config}, hidden_dim", {"method.hidden": 2048}),
        (f"{config}, projection_dim", {"method.out": 128}),
        ("ours: of their four layers", {"method.layers": 3}),
        (f"{here}losses/losses.py, loss_a + loss_b", {"method.sum_of_views": True}),
        (f"{colours}, num_windows", at("global", count=2)),
        (f"{colours}, sample_ssl_sequence: two uniform starts", anywhere("global")),
        (made, at("global", scale=[0.3, 1.0], ratio=[0.5, 2.0])),
        (f"{made}, random_flip_left_right", at("global", flip=0.5)),
        (f"{colours}, color_jitter of strength 1", jitter("global", 0.8, 0.8, 0.8, 0.2, p=0.8)),
        (f"{colours}, random_color_jitter_3d", at("global", grey=0.2)),
        (f"{colours}, random_blur", at("global", sigma=[0.1, 2.0])),
        (f"{made}, clip by clip", at("global", blur=0.0, blurs=[1.0, 0.1])),
        (f"{colours}, random_solarization", at("global", solarize=[0.0, 0.2])),
        ("ours: with antialiasing", at("global", interpolation="bilinear")),
        (f"{yaml}, global_batch_size", {"data.batch_size": 1024}),
        (f"{yaml}, by its name", {"train.epochs": 200}),
        (f"{yaml}, initial_learning_rate", {"optim.lr": 0.32, "optim.lr_per": 0}),
        (f"{yaml}, warmup_steps of decay_steps", OFF | {"optim.warmup": 1787 / 71488}),
        (f"{yaml}, cosine", {"optim.lr_end": 0.0}),
        (f"{yaml}, sgd", {"optim.name": "sgd"}),
        ("official/vision/configs/video_classification.py", {"optim.momentum": 0.9}),
        (f"{yaml}, l2_weight_decay", {"optim.weight_decay": 1e-6}),
        (f"{here}losses/losses.py, kernels alone", {"optim.decay_all": False}),
    ]


def _svt() -> list[Row]:
    frames, views, train = "encoders.video.input", "datasets/transform.py", "train_ssl.py"
    both: list[Row] = [
        row
        for family in ("global", "local")
        for row in (
            (f"{views}:671", at(family, flip=0.5)),
            (f"{views}:672, 673", jitter(family, 0.4, 0.4, 0.2, 0.0, p=0.8)),
            (f"{views}:674", at(family, grey=0.2)),
            (f"{views}:684, 690: neither blur nor solarisation", at(family, blur=0.0)),
            (f"{views}:701, 720", at(family, interpolation="bicubic")),
            (f"{views}:134", at(family, ratio=[3 / 4, 4 / 3])),
            ("datasets/decoder.py:427-433, anywhere", at(family, within=-1.0, times="uniform")),
            ("datasets/decoder.py:427-433, each by itself", at(family, alike=False)),
        )
    ]
    return [
        ("scripts/train.sh, 4 GPUs of 8", {"data.batch_size": 4 * 8}),
        ("models/configs/Kinetics/TimeSformer_divST_8x32_224.yaml", {f"{frames}.frames": 8}),
        ("datasets/decoder.py:427, of ten seconds", {f"{frames}.rate": 8 / 10}),
        ("models/timesformer.py:215", {"encoders.video.width": 768, "encoders.video.depth": 12}),
        ("models/timesformer.py:216, of 64 channels", {"encoders.video.heads": 0}),
        ("models/timesformer.py:215", {"encoders.video.patch": 16, "encoders.video.tubelet": 1}),
        ("TimeSformer_divST_8x32_224.yaml", {"encoders.video.attention": "divided"}),
        ("models/timesformer.py, pos_embed, time_embed", {"encoders.video.positions": "learned"}),
        ("models/timesformer.py, cls_token", {"encoders.video.class_token": True}),
        (f"{train}:62", {"method.prototypes": 65536}),
        (f"{train}:64", {"method.fixed_lengths": True}),
        (f"{train}:68", {"method.momentum.start": 0.996}),
        (f"{train}:405", {"method.momentum.end": 1.0}),
        (f"{train}:71", {"method.batch_norm": False}),
        (f"{train}:75", {"method.teacher_temperature.start": 0.04}),
        (f"{train}:78", {"method.teacher_temperature.end": 0.04}),
        (f"{train}:588", {"method.temperature": 0.1}),
        (f"{train}:589", {"method.center_momentum": 0.9}),
        ("vision_transformer.py:249", {"method.hidden": 2048, "method.bottleneck": 256}),
        (f"{train}:100", {"method.frozen_until": 1 / 100}),
        (f"{train}:99", {"train.epochs": 100}),
        (f"{train}:89", OFF | {"optim.weight_decay": 0.04}),
        (f"{train}:91", {"optim.weight_decay_end": 0.4}),
        ("utils/utils.py:619", {"optim.decay_all": False}),
        (f"{train}:94; utils/utils.py:102, each by itself", {"optim.clip": 3.0}),
        ("utils/utils.py:102", {"optim.clip_each": True}),
        (f"{train}:103, 394", {"optim.lr": 5e-4, "optim.lr_per": 256}),
        (f"{train}:106", {"optim.warmup": 10 / 100}),
        (f"{train}:108, of 5e-4 * 32 / 256", {"optim.lr_end": 1e-6 / (5e-4 * 32 / 256)}),
        (f"{train}:110", {"optim.name": "adamw"}),
        (f"{train}:382, torch's default", {"optim.betas": [0.9, 0.999]}),
        (f"{views}:662", at("global", scale=[0.4, 1.0], count=2, speeds=[1.0])),
        (f"{views}:662", at("local", scale=[0.05, 0.4], count=8)),
        ("datasets/decoder.py:430", at("local", speeds=[1 / 8])),
        *both,
    ]


def _dpc(main: str, *, gap: Row, crops: str, jitter_at: str) -> list[Row]:
    """What both of Han's share; which line of its `main` says what of the clips."""
    grey, clips = "utils/augmentation.py, RandomGray; ours: once a video", "global"
    return [
        (f"{main}, --seq_len", {"encoders.video.input.frames": 5}),
        gap,
        ("backbone/resnet_2d3d.py, as wide at first", {"encoders.video.width": 64}),
        (f"{main}, --num_seq", at(clips, count=8)),
        (f"{main}, --pred_step", {"method.predict": 3}),
        ("dataset, idx_sampler: anywhere, one after the other", at(clips, times="in-a-row")),
        ("the same", at(clips, within=-1.0, speeds=[1.0])),
        ("ours: one crop and one set of colours a video", at(clips, alike=True)),
        (crops, at(clips, scale=[0.5, 1.0])),
        (f"{crops}; ours: log-uniform", at(clips, ratio=[3 / 4, 4 / 3])),
        (crops, at(clips, interpolation="bilinear")),
        (f"{main}, RandomHorizontalFlip", at(clips, flip=0.5)),
        (f"{jitter_at}; ours: once a video", jitter(clips, 0.5, 0.5, 0.5, 0.25, p=1.0)),
        (f"{grey}, all of it", at(clips, blur=0.0)),
        (f"{main}, Adam", OFF | {"optim.name": "adam", "optim.betas": [0.9, 0.999]}),
        (f"{main}, Adam of all parameters", {"optim.decay_all": True, "optim.warmup": 0.0}),
        (f"{main}, --lr", {"optim.lr": 1e-3, "optim.lr_per": 0}),
        (f"{main}, --wd", {"optim.weight_decay": 1e-5}),
    ]


def _dpc_kinetics() -> list[Row]:
    main, run = "dpc/main.py", "README.md:44"
    gap = ("dpc/main.py:293, of 30 a second", {"encoders.video.input.rate": 30 / 5})
    crops = "utils/augmentation.py:156, 157"
    return [
        *_dpc(main, gap=gap, crops=crops, jitter_at=f"{main}:130"),
        (run, {"encoders.video.layers": 18, "encoders.video.input.side": 128}),
        (f"{main}:129", at("global", grey=0.5)),
        (run, {"data.batch_size": 128, "train.epochs": 300}),
        (f"{main}, no schedule", {"optim.lr_end": 1.0}),
    ]


def _memdpc_kinetics() -> list[Row]:
    main, run = "memdpc/main.py", "readme.md:35"
    gap = (f"{main}:37, of 30 a second", {"encoders.video.input.rate": 30 / 3})
    crops = "utils/augmentation.py:184, 185"
    return [
        *_dpc(main, gap=gap, crops=crops, jitter_at=f"{main}:93"),
        (run, {"encoders.video.layers": 34, "encoders.video.input.side": 224}),
        (f"{main}:38", {"method.slots": 1024}),
        ("memdpc/model.py, agg_f, agg_b", {"method.both": True}),
        ("memdpc/model.py, _initialize_weights", {"method.gain": 0.1}),
        (f"{main}:92", at("global", grey=0.25)),
        (f"{run}, on 4 GPUs, {main}:65", {"data.batch_size": 4 * 16, "train.epochs": 200}),
        (f"{main}:104; ours: a cosine to a hundredth", {"optim.lr_end": 0.01}),
    ]


AUTHORS: dict[str, tuple[str, list[Row]]] = {
    "rho-byol-kinetics": ("facebookresearch/SlowFast", _rho_byol()),
    "rho-moco-kinetics": ("facebookresearch/SlowFast", _rho_moco()),
    "rho-simclr-kinetics": ("facebookresearch/SlowFast", _rho_simclr()),
    "rho-swav-kinetics": ("facebookresearch/SlowFast", _rho_swav()),
    "cvrl-kinetics": ("tensorflow/models", _cvrl()),
    "dpc-kinetics": ("TengdaHan/DPC", _dpc_kinetics()),
    "memdpc-kinetics": ("TengdaHan/MemDPC", _memdpc_kinetics()),
    "svt-kinetics": ("kahnchana/svt", _svt()),
    "vjepa-videomix": ("facebookresearch/jepa", _vjepa()),
    "mae-video-kinetics": ("MCG-NJU/VideoMAE", _videomae()),
}
