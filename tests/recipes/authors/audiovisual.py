"""What the authors' code says of recipes in `recipes/audiovisual/`."""

from authors.table import OFF, Row, anywhere, as_it_is, at, jitter


def _avid() -> list[Row]:
    yaml = "configs/main/avid/kinetics/Cross-N1024.yaml"
    return [
        (f"{yaml}:18", {"data.batch_size": 256}),
        (f"{yaml}:19, half a second", {"encoders.video.input.frames": 8}),
        (f"{yaml}:20", {"encoders.video.input.rate": 16.0}),
        (f"{yaml}:21", {"encoders.video.input.side": 224}),
        (f"{yaml}:22", {"encoders.audio.input.seconds": 2.0}),
        (f"{yaml}:23", {"encoders.audio.input.rate": 24000}),
        (f"{yaml}:24", {"encoders.audio.input.hop": 1 / 100}),
        (f"{yaml}:33, 40, ten clips of each an epoch", {"train.epochs": 30 * 10}),
        (f"{yaml}:38", {"optim.name": "adam"}),
        (f"{yaml}:39", OFF | {"optim.weight_decay": 1e-5}),
        ("main-avid.py:106, all parameters in one group", {"optim.decay_all": True}),
        ("utils/main_utils.py:255", {"optim.betas": [0.9, 0.999]}),
        (f"{yaml}:43", {"optim.lr": 2e-4, "optim.lr_per": 0, "optim.warmup": 0.0}),
        (f"{yaml}:44, nothing falls", {"optim.lr_end": 1.0}),
        (f"{yaml}:52", {"method.hidden": 512, "method.out": 128}),
        (f"{yaml}:55", {"encoders.video.width": 64, "encoders.video.depth": 2}),
        ("models/audio.py:24", {"encoders.audio.width": 64, "encoders.audio.depth": 2}),
        (f"{yaml}:64", {"method.negatives": 1024}),
        (f"{yaml}:65", {"method.momentum": 0.5}),
        (f"{yaml}:66", {"method.terms": "cross"}),
        ("criterions/avid.py:32", {"method.temperature": 0.07}),
        ("datasets/preprocessing.py:18", jitter("video", 0.4, 0.4, 0.4, 0.2, p=1.0)),
        ("datasets/preprocessing.py:35", at("video", scale=[0.08, 1.0], count=1)),
        ("datasets/video_db.py:206, one clip anywhere, at its speed", anywhere("video")),
        ("utils/videotransforms/video_transforms.py:318", at("video", ratio=[3 / 4, 4 / 3])),
        ("datasets/preprocessing.py:36", at("video", flip=0.5)),
        ("datasets/preprocessing.py:37, nothing else", at("video", grey=0.0, blur=0.0)),
        ("utils/videotransforms/video_transforms.py:318", at("video", interpolation="bilinear")),
        ("datasets/preprocessing.py:117", at("audio", gain=0.1, count=1)),
        ("utils/main_utils.py:207", at("audio", offset=0.5)),
        ("datasets/preprocessing.py:117, nothing else", as_it_is("audio", "gain")),
        ("ours: log-mel bands (docs/methods/avid.md)", {"encoders.audio.input.bins": 128}),
    ]


def _cma() -> list[Row]:
    yaml = "configs/main/avid-cma/kinetics/InstX-N1024-PosW-N64-Top32.yaml"
    only_avids = ("method.", "train.", "optim.lr")
    shared = [
        (source, {path: value for path, value in row.items() if not path.startswith(only_avids)})
        for source, row in _avid()
    ]
    return [
        *shared,
        (f"{yaml}:33, 40, ten clips of each an epoch", {"train.epochs": 20 * 10}),
        (f"{yaml}:43, 44", {"optim.lr": 2e-4, "optim.lr_per": 0, "optim.lr_end": 1.0}),
        (f"{yaml}:43", {"optim.lr_1d": -1.0, "optim.lr_start": 0.0}),
        (f"{yaml}:52", {"method.momentum": 0.5}),
        (f"{yaml}:53", {"method.negatives": 1024}),
        (f"{yaml}:54", {"method.negatives_within": 64}),
        (f"{yaml}:55, 56, 57, 58", {"method.compare": "within"}),
        (f"{yaml}:59, ten clips of each an epoch", {"method.remine": 5 * 10}),
        (f"{yaml}:61", {"method.agreement": "consensus"}),
        (f"{yaml}:62", {"method.positives": 32}),
        (f"{yaml}:70", {"method.hidden": 512, "method.out": 128}),
        ("criterions/avid.py:32", {"method.temperature": 0.07}),
    ]


def _gdt() -> list[Row]:
    run, sounds = "scripts/pretrain_gdt_k400.sh", "datasets/audio_utils.py"
    frames, sound = "encoders.video.input", "encoders.audio.input"
    bent = {"gain", "mask_time", "mask_bands"}
    return [
        ("ours: of the script's nine hypotheses the sixth", {"method.shift": "distinct"}),
        ("ours: of the script's nine hypotheses the sixth", {"method.reversal": "distinct"}),
        (f"{run}:64", {"method.temperature": 0.07}),
        ("model.py:224, 231", {"method.hidden": 512, "method.out": 256}),
        (f"{run}:10, 14, 72", {"data.batch_size": 2 * 8 * 8}),
        (f"{run}:48", {"train.epochs": 201}),
        ("main_gdt.py:134", OFF | {"optim.name": "sgd", "optim.decay_all": True}),
        (f"{run}:49", {"optim.momentum": 0.9}),
        (f"{run}:50", {"optim.weight_decay": 1e-5}),
        (f"{run}:73, times 16 processes", {"optim.lr": 0.16, "optim.lr_per": 0}),
        (f"{run}:54", {"optim.warmup": 10 / 201, "optim.lr_start": 1 / 16}),
        (f"{run}:55, nothing falls", {"optim.lr_end": 1.0}),
        (f"{run}:68, 69", {f"{frames}.frames": 30, f"{frames}.rate": 30.0}),
        (f"{run}:70", {f"{frames}.side": 112}),
        ("datasets/GDTPretrainDataset.py:51", {f"{frames}.mean": [0.45] * 3}),
        ("datasets/GDTPretrainDataset.py:52", {f"{frames}.std": [0.225] * 3}),
        ("ours: AVID's networks (docs/methods/gdt.md)", {"encoders.video.width": 64}),
        ("ours: AVID's networks (docs/methods/gdt.md)", {"encoders.video.depth": 2}),
        ("ours: AVID's networks (docs/methods/gdt.md)", {"encoders.audio.width": 64}),
        ("ours: AVID's networks (docs/methods/gdt.md)", {"encoders.audio.depth": 2}),
        (f"{run}:82, 86", {f"{sound}.rate": 24000, f"{sound}.seconds": 1.0}),
        (f"{sounds}:54, 55, 56", {f"{sound}.window": 0.02, f"{sound}.hop": 0.01}),
        (f"{sounds}:56", {f"{sound}.bins": 40}),
        ("datasets/GDTPretrainDataset.py:286", anywhere("video") | at("video", count=2)),
        ("datasets/GDTPretrainDataset.py:157, of a square", at("video", scale=[0.49, 0.766])),
        ("datasets/GDTPretrainDataset.py:425", at("video", ratio=[1.0, 1.0])),
        ("datasets/GDTPretrainDataset.py:429", at("video", flip=0.5)),
        ("datasets/GDTPretrainDataset.py:382", jitter("video", 0.4, 0.4, 0.4, 0.0, p=1.0)),
        ("datasets/GDTPretrainDataset.py, nothing else", at("video", grey=0.0, blur=0.0)),
        ("ours: with antialiasing", at("video", interpolation="bilinear")),
        (f"{run}:85, with its clip", at("audio", offset=0.0, count=2)),
        (f"{sounds}:47", at("audio", gain=0.1)),
        (f"{run}:81, below 6 of 99 frames, 3 of 40 bands", at("audio", mask_time=0.06)),
        (f"{run}:81, below 6 of 99 frames, 3 of 40 bands", at("audio", mask_bands=0.075)),
        ("datasets/GDTPretrainDataset.py, nothing else", as_it_is("audio", *bent)),
    ]


def _selavi() -> list[Row]:
    run, sounds = "scripts/master.sh", "datasets/audio_utils.py"
    frames, sound = "encoders.video.input", "encoders.audio.input"
    return [
        (f"{run}:51", {"method.clusters": 400}),
        ("README.md:84", {"method.heads": 10}),
        ("README.md:85", {"method.align": True}),
        ("README.md:86, opt.py:104", {"method.spread": 0.1}),
        ("model.py:63", {"method.hidden": 512}),
        ("opt.py:90", {"method.sharpness": 20.0}),
        ("src/sk_utils.py, optimize_L_sk_gpu", {"method.tolerance": 0.1}),
        ("opt.py:88", {"method.labellings": 100}),
        ("opt.py:86", {"method.power": 1.5}),
        (f"{run}:16, 17, 82", {"data.batch_size": 8 * 8 * 16}),
        (f"{run}:96", {"train.epochs": 201}),
        ("main.py:132", OFF | {"optim.name": "sgd", "optim.decay_all": True}),
        ("main.py:135", {"optim.momentum": 0.9}),
        (f"{run}:98", {"optim.weight_decay": 1e-5}),
        (f"{run}:97, times 64 processes", {"optim.lr": 0.64, "optim.lr_per": 0}),
        (f"{run}:99", {"optim.warmup": 10 / 201, "optim.lr_start": 1 / 64}),
        (f"{run}:101, nothing falls", {"optim.lr_end": 1.0}),
        (f"{run}:83, 84", {f"{frames}.frames": 30, f"{frames}.rate": 30.0}),
        (f"{run}:87", {f"{frames}.side": 112}),
        ("datasets/video_transforms.py:13", {f"{frames}.mean": [0.45] * 3}),
        ("datasets/video_transforms.py:14", {f"{frames}.std": [0.225] * 3}),
        ("ours: AVID's networks (docs/methods/selavi.md)", {"encoders.video.width": 64}),
        ("ours: AVID's networks (docs/methods/selavi.md)", {"encoders.video.depth": 2}),
        ("ours: AVID's networks (docs/methods/selavi.md)", {"encoders.audio.width": 64}),
        ("ours: AVID's networks (docs/methods/selavi.md)", {"encoders.audio.depth": 2}),
        (f"{run}:88, 89", {f"{sound}.rate": 24000, f"{sound}.seconds": 1.0}),
        (f"{sounds}:59, 60", {f"{sound}.window": 0.02, f"{sound}.hop": 0.01}),
        ("ours: log-mel bands (docs/methods/selavi.md)", {f"{sound}.bins": 128}),
        ("datasets/decoder.py:64", anywhere("video") | at("video", count=1)),
        ("datasets/AVideoDataset.py:214, of a square", at("video", scale=[0.49, 0.766])),
        ("datasets/AVideoDataset.py:214, of a square", at("video", ratio=[1.0, 1.0])),
        ("datasets/video_transforms.py:157", at("video", flip=0.5)),
        ("opt.py:47, 49, 51", at("video", jitter=0.0, grey=0.0, blur=0.0)),
        ("ours: with antialiasing", at("video", interpolation="bilinear")),
        (f"{run}:92, with its clip", at("audio", offset=0.0, count=1)),
        (f"{sounds}:43", at("audio", gain=0.1)),
        ("datasets/AVideoDataset.py, nothing else", as_it_is("audio", "gain")),
    ]


def _cavmae() -> list[Row]:
    run, train = "egs/audioset/run_cavmae_pretrain_scale++.sh", "src/traintest_cavmae.py"
    model, loader = "src/models/cav_mae.py", "src/dataloader.py"
    frames, sound = "encoders.video.input", "encoders.audio.input"
    vit = {"width": 768, "patch": 16, "heads": 0}
    ours = {"encoders.video.attention": "joint", "encoders.video.class_token": False}
    return [
        (f"{run}:20", at("video", **{"mask.ratio": 0.75}) | at("audio", **{"mask.ratio": 0.75})),
        (f"{run}:21", at("video", **{"mask.kind": "random", "mask.unit": 1})),
        (f"{run}:21", at("audio", **{"mask.kind": "random", "mask.unit": 1})),
        (f"{run}:22, 23", {"method.contrast": 0.01}),
        (f"{run}:25", {"method.normalise_patches": True}),
        (f"{model}, forward_contrastive", {"method.temperature": 0.05}),
        (f"{model}, CAVMAE, 12 less 11", {"method.joint": 1, "method.own": 0}),
        (f"{model}, CAVMAE, forward_contrast", {"method.compared": "mean"}),
        (f"{model}, CAVMAE", {"method.width": 512, "method.depth": 8, "method.heads": 16}),
        (f"{model}, CAVMAE", {"encoders.video.depth": 11, "encoders.audio.depth": 11}),
        (f"{model}, CAVMAE", {f"encoders.video.{k}": v for k, v in vit.items()}),
        (f"{model}, CAVMAE", {f"encoders.audio.{k}": v for k, v in vit.items()}),
        ("ours: a frame is a clip of one", ours | {"encoders.video.tubelet": 1}),
        ("ours: a fixed table of rows and columns", {"encoders.video.positions": "grid"}),
        (f"{run}:33", {"optim.lr": 2e-4, "optim.lr_per": 0}),
        (f"{run}:34", {"train.epochs": 25}),
        ("ours: a cosine, for halves every five epochs", OFF | {"optim.lr_end": 0.0}),
        (f"{train}, no code for --warmup", {"optim.warmup": 0.0}),
        (f"{run}:38", {f"{sound}.mean": -5.081}),
        (f"{run}:39", {f"{sound}.std": 4.4849}),
        (f"{run}:40", {f"{sound}.seconds": 10.24}),
        (f"{loader}:191", {f"{sound}.bins": 128, f"{sound}.hop": 0.01}),
        (f"{run}:43", {"data.batch_size": 256}),
        (f"{train}:50", {"optim.name": "adam", "optim.betas": [0.95, 0.999]}),
        (f"{train}:50", {"optim.weight_decay": 5e-7, "optim.decay_all": True}),
        ("ours: a clip of one frame", {f"{frames}.frames": 1, f"{frames}.rate": 1.0}),
        (f"{loader}, randselect_img, one of ten", anywhere("video") | at("video", count=1)),
        (f"{loader}:124", at("video", scale=[1.0, 1.0], ratio=[1.0, 1.0], flip=0.0)),
        (f"{loader}:125", at("video", interpolation="bicubic")),
        (f"{loader}:124, nothing else", at("video", jitter=0.0, grey=0.0, blur=0.0)),
        (f"{loader}, the whole sound", at("audio", count=1, offset=0.5)),
        (f"{loader}, around its end always, without the noise", at("audio", roll=1.0)),
        (f"{loader}, nothing else", as_it_is("audio", "roll", "mask.ratio")),
    ]


def _brave() -> list[Row]:
    config, model = "brave/models/brave/config.py", "brave/models/brave/brave.py"
    colours, heads = "brave/datasets/augmentations.py", "brave/models/brave/modules.py"
    frames, sound = "encoders.narrow.input", "encoders.broad.input"
    network = "ours: a slow-only network (docs/methods/brave.md)"
    return [
        (f"{config}:32, 33, sound alone", {"method.broad": ["broad"]}),
        (f"{config}:34", {f"{frames}.side": 224}),
        (f"{config}:35", {f"{frames}.frames": 16}),
        (f"{config}:36, 43", {f"{frames}.rate": 25 / 2}),
        (f"{colours}, normalize_video", {f"{frames}.mean": [0.0], f"{frames}.std": [1.0]}),
        (network, {"encoders.narrow.layers": 50, "encoders.narrow.width": 64}),
        ("ours: AVID's network", {"encoders.broad.width": 64, "encoders.broad.depth": 2}),
        (f"{config}:30, 31, 43", {f"{sound}.seconds": 64 * 4 / 25}),
        (f"{config}:39", {f"{sound}.bins": 80}),
        (f"{config}:40, 42", {f"{sound}.rate": 48_000, f"{sound}.hop": 160 / 48_000}),
        ("brave/datasets/spectrograms.py:20", {f"{sound}.window": 320 / 48_000}),
        ("ours: log-mel bands, normalised", {f"{sound}.mean": -4.2677393}),
        ("ours: log-mel bands, normalised", {f"{sound}.std": 4.5689974}),
        (f"{config}:37", {"method.out": 128}),
        (f"{heads}:95, 114", {"method.hidden": 4096}),
        ("ours: encoders of two widths", {"method.shared": False}),
        (f"{config}:61", {"method.predictor_lr": 10.0}),
        (f"{model}:504-507", at("narrow", scale=[0.3, 1.0], ratio=[0.5, 2.0])),
        (f"{model}:379; ours: 3 sigma wide", at("narrow", blur=1.0, sigma=[0.1, 2.0])),
        (f"{model}:381", at("narrow", flip=0.5)),
        (f"{model}:383", at("narrow", grey=0.2)),
        (f"{colours}:173-176; ours: a factor", jitter("narrow", 32 / 255, 0.4, 0.4, 0.2, p=0.8)),
        ("ours: with antialiasing", at("narrow", interpolation="bilinear")),
        (f"{model}, _brave_random_view_sampler", anywhere("narrow") | at("narrow", count=1)),
        (f"{model}:424", at("broad", offset=0.0, count=1)),
        (f"{model}, _get_audio_for_view, nothing else", as_it_is("broad")),
        (f"{config}:25", {"data.batch_size": 512}),
        (f"{config}:58", {"train.steps": 300_000, "train.epochs": 0}),
        (f"{config}:46", OFF | {"optim.name": "lars-classic"}),
        ("brave/training/optimizers.py, exclude_bias_and_normalizers", {"optim.decay_all": False}),
        (f"{config}:47", {"optim.weight_decay": 1e-2}),
        (f"{config}:49", {"optim.momentum": 0.9}),
        (f"{config}:55, 56", {"optim.lr": 1.0, "optim.lr_per": 0}),
        (f"{config}:57", {"optim.warmup": 5000 / 300_000}),
        (f"{config}:59", {"optim.lr_end": 0.0}),
    ]


AUTHORS: dict[str, tuple[str, list[Row]]] = {
    "avid-kinetics": ("facebookresearch/AVID-CMA", _avid()),
    "gdt-kinetics": ("facebookresearch/GDT", _gdt()),
    "cma-kinetics": ("facebookresearch/AVID-CMA", _cma()),
    "brave-audioset": ("google-deepmind/brave", _brave()),
    "cav-mae-audioset": ("YuanGongND/cav-mae", _cavmae()),
    "selavi-kinetics": ("facebookresearch/selavi", _selavi()),
}
