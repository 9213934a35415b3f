"""What each measure says, what it cannot say, and what is known of its worth: text for users."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from manyviews.core.nouns import Noun


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number of a diagnosis, in words; `{sample}` and `{samples}` are what samples are called.

    Attributes:
        title: what to call it.
        says: what it tells.
        cannot: what it does not tell, and where it misleads.
        evidence: published evidence that it goes with accuracy, or "none".
        better: which direction is usually better, and within what.
        unit: its unit and range.
    """

    title: str
    says: str
    cannot: str
    evidence: str
    better: str
    unit: str

    def of(self, noun: Noun) -> "Measure":
        """The same of samples that are called so."""
        return Measure(**{name: noun.fill(text) for name, text in vars(self).items()})


_SWEEP = "higher within one method's sweep of one architecture and width"
_ALARM = "no direction: an alarm for collapse, not a measure of quality"

_SPECTRUM = {
    "rankme": Measure(
        title="RankMe",
        says="How many directions the features use, the mean direction included; a sharp fall "
        "during training is a dimensional collapse.",
        cannot="It does not tell useful directions from noise, and does not compare methods, "
        "architectures or widths. A large common mean lowers it. With fewer than 10 rows a "
        "dimension it grows with the number of rows.",
        evidence="Garrido et al. 2023 (arXiv:2210.02885): hyper-parameters chosen by it come "
        "within about half a point of those chosen with labels, by linear probes on ImageNet. "
        "Reported to be weak for I-JEPA-like methods and on imbalanced data.",
        better=_SWEEP,
        unit="directions, 1 to min(N, D)",
    ),
    "effective_rank": Measure(
        title="effective rank",
        says="How many directions the centred features use, weighing small ones too.",
        cannot="As RankMe, from which it differs in leaving out the mean: it does not tell useful "
        "directions from noise.",
        evidence="none of its own; RankMe's is the nearest (Roy and Vetterli 2007 define it). "
        "AdaDim (arXiv:2505.12576): the best models have neither the highest nor the lowest "
        "effective dimension.",
        better=_SWEEP,
        unit="directions, 0 to min(N, D)",
    ),
    "participation_ratio": Measure(
        title="participation ratio",
        says="How many directions hold most of the variance: the head of the spectrum.",
        cannot="It does not see the tail, and does not tell useful directions from noise.",
        evidence="none",
        better=_SWEEP,
        unit="directions, 0 to min(N, D)",
    ),
    "alpha_req": Measure(
        title="alpha-ReQ",
        says="How fast the spectrum falls off: well above 1 few directions dominate, well below 1 "
        "features are like white noise.",
        cannot="It assumes a power law, which features that have lost directions do not follow, "
        "and depends on the range that is fitted.",
        evidence="Agrawal et al. 2022 (NeurIPS): within a family of models, good ones lie near 1.",
        better="near 1, within one family of models",
        unit="exponent, about 0 to 5",
    ),
    "collapse_level": Measure(
        title="collapse level",
        says="How uneven the spectrum is: the area under the cumulative explained variance.",
        cannot="It does not see a constant added to all features. A steep spectrum of a projector "
        "is normal where views are contrasted.",
        evidence="Li et al. 2022 (arXiv:2209.15007): together with the loss it predicts a SimSiam "
        "probe's accuracy, by a regression that has to be fitted first.",
        better="lower within one method's sweep",
        unit="area, 0.5 (even) to 1 (one direction)",
    ),
}

_SPHERE = {
    "std": Measure(
        title="feature standard deviation",
        says="Whether normalised features vary at all: near 0 they are all the same.",
        cannot="It does not see a dimensional collapse, and does not tell good from bad above 0.1.",
        evidence="none for quality; Chen and He 2021 (arXiv:2011.10566) use it to show collapse.",
        better=_ALARM,
        unit="share of an even spread, 0 to 1",
    ),
    "cosine": Measure(
        title="mean cosine",
        says="How alike different {samples} are: above 0.9999 they all get the same features.",
        cannot="Networks that end in a ReLU, and vision transformers, share a large mean and so "
        "have high cosines without any collapse.",
        evidence="none for quality",
        better=_ALARM,
        unit="cosine, -1 / (N - 1) to 1",
    ),
    "alignment": Measure(
        title="alignment",
        says="How far apart two views of one {sample} are.",
        cannot="A constant encoder has perfect alignment: read it together with uniformity.",
        evidence="Wang and Isola 2020 (arXiv:2005.10242): with uniformity it goes with accuracy "
        "within contrastive runs; not across methods.",
        better="lower, at equal uniformity, within one contrastive method's sweep",
        unit="squared distance, 0 to 4",
    ),
    "uniformity": Measure(
        title="uniformity",
        says="How evenly features spread over the sphere.",
        cannot="It hardly sees a dimensional collapse, and says nothing of predicted pixels.",
        evidence="Wang and Isola 2020 (arXiv:2005.10242): with alignment it goes with accuracy "
        "within contrastive runs; not across methods.",
        better="lower, at equal alignment, within one contrastive method's sweep",
        unit="logarithm, about -4 (even) to 0 (all equal)",
    ),
}

_DIMENSION = {
    "twonn": Measure(
        title="intrinsic dimension, TwoNN",
        says="In how many ways features vary locally.",
        cannot="Noise raises it, duplicates and few rows mislead it, and collapse lowers it. "
        "Common estimators are disputed to find the true dimension of features (arXiv:2604.20276).",
        evidence="Facco et al. 2017 define it. As a part of CLID more was found better (one "
        "paper), of another estimator of dimension less was found better (one paper).",
        better="contested",
        unit="dimensions, above 0",
    ),
    "mst_dimension": Measure(
        title="intrinsic dimension, spanning tree (IdEst)",
        says="In how many ways features vary, from how the length of a spanning tree grows with "
        "the number of {samples}.",
        cannot="Collapse lowers it as well: never judge by it alone. Common estimators are "
        "disputed to find the true dimension of features (arXiv:2604.20276).",
        evidence="IdEst (arXiv:2606.03338), one paper: rank correlation of about -0.8 with linear "
        "probes over 33 public models on four data sets.",
        better="lower across models, where none has collapsed",
        unit="dimensions, 1 or more",
    ),
    "lidar": Measure(
        title="LiDAR",
        says="How many directions separate {samples} better than augmentations blur them.",
        cannot="It needs the augmentations of training and cannot exceed the number of {samples} "
        "less one. It does not compare methods whose augmentations differ.",
        evidence="Thilak et al. 2024 (arXiv:2312.04000): chooses hyper-parameters better than "
        "RankMe, also for I-JEPA, data2vec and DINO, by linear probes on ImageNet.",
        better=_SWEEP,
        unit="directions, 1 to min(N - 1, D)",
    ),
    "cluster_learnability": Measure(
        title="cluster learnability",
        says="How well neighbours tell the cluster that k-means puts one {sample} in.",
        cannot="It depends on the numbers of clusters and neighbours. A collapse to one point or a "
        "few makes clusters easy to learn.",
        evidence="as a part of CLID alone",
        better="higher, at equal dimension, clusters and neighbours",
        unit="accuracy, 0 to 1",
    ),
    "clid": Measure(
        title="CLID",
        says="Whether features are both learnable and rich: cluster learnability and intrinsic "
        "dimension, each standardised across the runs compared, and added.",
        cannot="It means nothing for a single run, and changes when a run is added. Whether more "
        "dimensions are better is contested.",
        evidence="Lu et al. 2023 (arXiv:2206.01251), one paper: goes with accuracy in and out of "
        "domain better than its rivals, across methods.",
        better="higher among the runs compared",
        unit="sum of two standard scores, mean 0",
    ),
}

_VIEWS = {
    "view_consistency": Measure(
        title="view consistency",
        says="How often the nearest neighbour of one {sample} among second views is its own.",
        cannot="It is easy where views hardly differ, and where colours alone tell {samples} "
        "apart. "
        "It does not compare runs whose augmentations differ.",
        evidence="none",
        better="higher within one run",
        unit="share of {samples}, 0 to 1",
    ),
    "shared_neighbours": Measure(
        title="shared neighbours of views",
        says="How many of the other {samples} nearest to one view of a sample are also nearest to "
        "its second view.",
        cannot="A collapsed network's neighbours mean nothing, and its value depends on the number "
        "of {samples}. It does not compare runs whose augmentations differ.",
        evidence="none; our own",
        better="higher within one run, and than before training",
        unit="overlap, 0 to 1",
    ),
    "graph_stability": Measure(
        title="neighbour stability",
        says="How much of each {sample}'s nearest neighbours stays the same from one checkpoint to "
        "the next.",
        cannot="It says nothing of quality: features may stand still because the learning rate is "
        "0. A collapsed network's neighbours mean nothing.",
        evidence="none; our own",
        better="no direction: near 1 features no longer move, a sudden dip is an instability",
        unit="overlap, 0 to 1",
    ),
    "invariance": Measure(
        title="change under one augmentation",
        says="How far an augmentation, by itself, moves the features of one {sample}, compared "
        "with the distance between two {samples}.",
        cannot="Whether an invariance is wanted depends on the task: flowers need colour. Encoder "
        "and projector differ much.",
        evidence="none for quality; Bordes et al. 2022 (arXiv:2112.09164) find that projectors are "
        "far more invariant to the augmentations of training than encoders.",
        better="no direction",
        unit="share of the distance between {samples}, 0 (invariant) to about 1",
    ),
    "cluster_stability": Measure(
        title="stability of clusters",
        says="Whether k-means finds the same clusters in one half of the {samples} as in "
        "the other.",
        cannot="Wrong clusters may be stable too, and few clusters are more stable than many.",
        evidence="none for accuracy; von Luxburg 2010 reviews it as a criterion for clusters.",
        better="higher at an equal number of clusters",
        unit="adjusted Rand index, about 0 (chance) to 1",
    ),
    "cluster_consistency": Measure(
        title="consistency of clusters",
        says="How often two views of one {sample} fall in the same cluster, beyond what chance "
        "gives.",
        cannot="It is easy where views hardly differ.",
        evidence="none",
        better="higher, at an equal number of clusters and equal augmentations",
        unit="0 as by chance, 1 all {samples}",
    ),
    "nmi": Measure(
        title="agreement of two groupings (NMI)",
        says="How much one grouping of the {samples} tells of another: clusters of other clusters, "
        "or of labels where those were given.",
        cannot="It is not corrected for chance: many small clusters agree by accident.",
        evidence="none for accuracy; with labels it is a measure of its own.",
        better="higher at an equal number of clusters",
        unit="share of information, 0 to 1",
    ),
    "purity": Measure(
        title="purity of clusters",
        says="With labels: how many {samples} have the commonest label of their cluster.",
        cannot="It rises with the number of clusters, and is never below the share of the "
        "commonest label.",
        evidence="none for accuracy; with labels it is a measure of its own.",
        better="higher at an equal number of clusters",
        unit="share of {samples}, above 0 to 1",
    ),
}

_INFORMATION = {
    "infonce_bound": Measure(
        title="InfoNCE bound",
        says="A lower bound on what one view's features tell of the other's.",
        cannot="It cannot exceed ln M of M candidates, so read M beside it. A tighter bound is no "
        "better representation (Tschannen et al. 2020, arXiv:1907.13625).",
        evidence="none that holds across methods",
        better="no direction: compare equal M and temperature only",
        unit="nats, at most ln M",
    ),
    "entropy_joe": Measure(
        title="entropy (leave-one-out)",
        says="How spread out features are, by a kernel density estimate without a point's own "
        "kernel. Falling while reconstruction rises, it is the path to collapse.",
        cannot="Its value depends on the number of rows, kappa and width, and is negative in many "
        "dimensions: read changes only.",
        evidence="none for quality; Rodriguez-Galvez et al. 2023 (arXiv:2307.10907) find it stable "
        "in healthy runs of BYOL and DINO.",
        better=_ALARM,
        unit="nats, below 0 in many dimensions",
    ),
    "entropy_plugin": Measure(
        title="entropy (plug-in)",
        says="As the leave-one-out entropy, by the plug-in estimator.",
        cannot="A point's own kernel makes it look even where there are few rows or kappa is high.",
        evidence="none for quality; Rodriguez-Galvez et al. 2023 (arXiv:2307.10907) define it.",
        better=_ALARM,
        unit="nats, below 0 in many dimensions",
    ),
    "reconstruction": Measure(
        title="reconstruction",
        says="How well one view's features predict the other's.",
        cannot="A constant encoder reconstructs perfectly: read it together with entropy.",
        evidence="none for quality; Rodriguez-Galvez et al. 2023 (arXiv:2307.10907) find that BYOL "
        "and DINO raise it and keep the entropy.",
        better="higher, while the entropy does not fall, within one run",
        unit="nats",
    ),
    "er_bound": Measure(
        title="entropy-reconstruction bound",
        says="A lower bound on what one view's features tell of the other's: entropy and "
        "reconstruction together.",
        cannot="The entropy in it is an estimate, so it can be above the truth. More information "
        "is not always a better representation.",
        evidence="none for accuracy across methods; Rodriguez-Galvez et al. 2023 "
        "(arXiv:2307.10907) show that it makes small batches and fast targets stable.",
        better="no direction across methods; higher within one run",
        unit="nats",
    ),
}

_PROTOTYPES = {
    "perplexity": Measure(
        title="prototype usage",
        says="What share of the prototypes is in use.",
        cannot="Sinkhorn evens out a batch's assignments and so hides prototypes that no {sample} "
        "wants. More prototypes than the data fills is no fault by itself.",
        evidence="none",
        better="no direction: an alarm below 0.2 late in training",
        unit="share of K, 1 / K to 1",
    ),
    "dead": Measure(
        title="dead prototypes",
        says="How many prototypes are no {sample}'s first choice.",
        cannot="It means little with fewer than 10 {samples} a prototype.",
        evidence="none",
        better=_ALARM,
        unit="prototypes, 0 to K - 1",
    ),
    "usage_entropy": Measure(
        title="entropy of the mean assignment",
        says="How evenly prototypes are used: near 0, one of them gets everything.",
        cannot="A network whose assignments are all uniform uses prototypes perfectly evenly.",
        evidence="none",
        better=_ALARM,
        unit="share of ln K, 0 to 1",
    ),
    "target_entropy": Measure(
        title="entropy of an assignment",
        says="How undecided assignments are: near 1 every {sample} gets every prototype alike, and "
        "the loss stays at ln K.",
        cannot="It depends on the temperature; one prototype for everything is perfectly decided.",
        evidence="none",
        better=_ALARM,
        unit="share of ln K, 0 to 1",
    ),
    "information": Measure(
        title="information in prototypes",
        says="How much its prototype tells of one {sample}: about 0 is a collapse, whichever kind.",
        cannot="Random but decided assignments carry as much as useful ones.",
        evidence="none for quality; it is the entropy-reconstruction bound of equal views.",
        better=_ALARM,
        unit="nats, 0 to ln K",
    ),
}

_PATCHES = {
    "dse": Measure(
        title="DSE, of patches",
        says="Whether features of places keep things apart and use many directions: separation "
        "and dimension of patches, added.",
        cannot="It does not compare encoders or trainings. It may rise late in a training though "
        "dense features do not get better.",
        evidence="arXiv:2510.17299 (NeurIPS 2025): checkpoints chosen by it, with a few labels "
        "among the best three, gain 3 points of mIoU on average over 16 methods.",
        better="higher within one training, at a local maximum",
        unit="about -1 to 2",
    ),
    "patch_separation": Measure(
        title="separation of patches",
        says="How far clusters of patches are from one another beyond what they spread, in mean "
        "distances to the middle.",
        cannot="It depends on the number of patches and of {samples}. A few tight clusters have it "
        "too, whatever they are of.",
        evidence="arXiv:2510.17299, as a part of DSE alone; it is what falls as dense features "
        "degrade.",
        better="higher within one training",
        unit="mean distances, about -1 to 1",
    ),
    "patch_dimension": Measure(
        title="dimension of patches",
        says="How many of the possible directions the patches of different {samples} use.",
        cannot="It is held down by the number of {samples}, and does not tell useful directions "
        "from noise.",
        evidence="arXiv:2510.17299, as a part of DSE alone; it is what falls in a collapse.",
        better="higher within one training",
        unit="share, 0 to 1",
    ),
}

MEASURES: Mapping[str, Measure] = MappingProxyType(
    {**_SPECTRUM, **_SPHERE, **_DIMENSION, **_VIEWS, **_INFORMATION, **_PATCHES, **_PROTOTYPES}
)
"""Name of a number, as the functions and fields of `diagnosis` are called -> its words."""
