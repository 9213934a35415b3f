"""Which trainings judge the verdict, by halves; `planted.py` trains them."""

from dataclasses import dataclass, field, replace

HALVES = ("a", "b", "c", "d", "e", "f", "g", "h", "i")
"""Parts of the trainings; see `Plan.half`."""
THRIFTY = {"data.batch_size": 32}
"""Where time is short."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One training.

    Attributes:
        recipe, steps, seed: of it.
        half: "a" chooses thresholds, "b" judges them; set before anything was measured. "c" judges
            what was mended after "b" had been looked at, "d" what was after "c", "e" what was after
            "d" and "f" what was after "e", likewise. "g" judges the rules as "f" left them, and
            "h" as "g" left them; "i" as "h" did.
        data: "images", "few" or a "handful" of them, "noise" or "one" (one image repeated).
        fault: what is broken in it, of `collapse.FAULTS`; "" for nothing.
        cut: steps after which it was killed; -1 where it came to its end.
        start: name of the plan that it goes on from.
        longer: name of the plan that differs in having twice the steps.
        given: more settings; "hotter" is a factor on the learning rate.
    """

    recipe: str
    steps: int
    seed: int = 0
    half: str
    data: str = "images"
    fault: str = ""
    cut: int = -1
    start: str = ""
    longer: str = ""
    given: dict = field(default_factory=dict)


def plans():
    """All trainings by name, in the order in which they are made."""
    return {
        **_short(),
        **_ladders(),
        **_broken(),
        **_hopeless(),
        **_begun(),
        **_pairs(),
        **_sated(),
        **_tasks(),
        **_anew(),
        **_hardly(),
        **_near_one_place(),
        **_to_the_end(),
        **_once_more(),
        **_untouched(),
        **_after_them(),
        **_of_near_projections(),
    }


def _short():
    """Trainings of no step, 2 and 20, and some that were killed half-way."""
    found = {}
    for recipe, seed, half in (
        *(("simclr", 0, "a"), ("vicreg", 1, "b"), ("byol", 0, "b")),
        *(("barlow", 2, "a"), ("swav", 0, "a"), ("simsiam", 1, "b")),
    ):
        for steps in (2, 20):
            found[f"{recipe}-{steps}"] = Plan(recipe=recipe, steps=steps, seed=seed, half=half)
    for recipe, half in (("simclr", "b"), ("byol", "a")):
        found[f"{recipe}-0"] = Plan(recipe=recipe, steps=20, cut=0, half=half, seed=3)
    for recipe, half in (("simclr", "a"), ("vicreg", "b")):
        found[f"{recipe}-killed"] = Plan(recipe=recipe, steps=600, cut=300, half=half, seed=4)
    return found


def _ladders():
    """Finished trainings, each beside one of twice the length."""
    found = {}
    ladder = (60, 120, 240, 480, 960)
    for recipe, half, top in (("simclr", "a", 960), ("vicreg", "b", 240)):
        rungs = [steps for steps in ladder if steps <= top]
        for steps in rungs:
            longer = f"{recipe}-{2 * steps}" if 2 * steps in rungs else ""
            plan = Plan(recipe=recipe, steps=steps, seed=5, half=half, longer=longer)
            found[f"{recipe}-{steps}"] = plan
    return found


def _pairs():
    """Other methods, likewise."""
    found = {}
    for recipe, half in (
        ("barlow", "b"),
        ("moco", "a"),
        ("byol", "b"),
        ("swav", "b"),
        ("dino", "a"),
    ):
        for steps, longer in ((150, f"{recipe}-300"), (300, "")):
            plan = Plan(recipe=recipe, steps=steps, seed=6, half=half, longer=longer, given=THRIFTY)
            found[f"{recipe}-{steps}"] = plan
    for recipe, half in (("mae", "a"), ("rotation", "b")):
        found[f"{recipe}-300"] = Plan(recipe=recipe, steps=300, seed=7, half=half, given=THRIFTY)
    return found


def _broken():
    """Collapses and faults."""
    found = {}
    for recipe, fault, half in (
        *(("simclr", "constant head", "a"), ("byol", "constant head", "b")),
        *(("barlow", "constant head", "a"), ("mae", "constant head", "b")),
        *(("byol", "predictor removed", "a"), ("dino", "teacher temperature 1", "b")),
        *(("byol", "teacher shares storage", "a"), ("dino", "teacher shares storage", "b")),
        *(("simclr", "no augmentation", "b"), ("vicreg", "no augmentation", "a")),
        *(("dino", "constant head", "a"), ("swav", "constant head", "b")),
    ):
        name = f"{recipe}-{fault.replace(' ', '-')}"
        found[name] = Plan(recipe=recipe, steps=100, fault=fault, half=half, given=THRIFTY)
    return found


def _hopeless():
    """Data that teach nothing."""
    found = {}
    for recipe, half in (("simclr", "a"), ("byol", "b"), ("vicreg", "b"), ("swav", "a")):
        plan = Plan(recipe=recipe, steps=150, data="noise", half=half, seed=8, given=THRIFTY)
        found[f"{recipe}-noise"] = plan
    for recipe, half in (("simclr", "b"), ("vicreg", "a")):
        plan = Plan(recipe=recipe, steps=60, data="one", half=half, seed=9, given=THRIFTY)
        found[f"{recipe}-one-image"] = plan
    return found


def _begun():
    """Trainings that went on from another one."""
    found, hot = {}, {"hotter": 20.0}
    for name, recipe, start, half, data, given in (
        ("start-ruined", "simclr", "simclr-480", "a", "images", hot),
        ("start-ruined-2", "vicreg", "simclr-480", "b", "images", hot),
        ("start-on-noise", "simclr", "simclr-480", "b", "noise", {}),
        ("start-goes-on", "simclr", "simclr-60", "a", "images", {}),
        ("start-goes-on-2", "vicreg", "simclr-120", "b", "images", {}),
    ):
        plan = Plan(recipe=recipe, steps=100, start=start, half=half, data=data, seed=10)
        found[name] = replace(plan, given=THRIFTY | given)
    return found


def _sated():
    """Of few images, each seen so often that as much again should bring nothing."""
    found = {}
    for recipe, seed in (("simclr", 11), ("vicreg", 12), ("byol", 13)):
        for steps, longer in ((1600, f"{recipe}-few-3200"), (3200, "")):
            plan = Plan(recipe=recipe, steps=steps, seed=seed, half="b", data="few", longer=longer)
            found[f"{recipe}-few-{steps}"] = replace(plan, given=THRIFTY)
    return found


def _tasks():
    """Of tasks that do not make views alike: hardly begun, finished, and on noise."""
    found = {}
    for recipe, seed, half in (
        *(("mae", 14, "a"), ("rotation", 15, "a")),
        *(("maskfeat", 16, "c"), ("simmim", 17, "c"), ("jigsaw", 18, "c")),
        *(("context", 19, "c"), ("autoencoder", 20, "c"), ("mae", 21, "c"), ("rotation", 22, "c")),
    ):
        for steps, data in ((20, "images"), (400, "images"), (150, "noise")):
            plan = Plan(recipe=recipe, steps=steps, seed=seed, half=half, data=data, given=THRIFTY)
            found[f"{recipe}-{half}-{'noise' if data == 'noise' else steps}"] = plan
    return found


def _anew():
    """What was answered wrongly in "b", with other seeds; and so few images that all is learnt."""
    found = {}
    for recipe, seed in (("barlow", 23), ("swav", 24)):
        for steps, longer in ((150, f"{recipe}-c-300"), (300, "")):
            plan = Plan(recipe=recipe, steps=steps, seed=seed, half="c", longer=longer)
            found[f"{recipe}-c-{steps}"] = replace(plan, given=THRIFTY)
    for recipe, seed in (("swav", 25), ("simclr", 26)):
        plan = Plan(recipe=recipe, steps=150, data="noise", half="c", seed=seed, given=THRIFTY)
        found[f"{recipe}-c-noise"] = plan
    fault = "teacher temperature 1"
    plan = Plan(recipe="dino", steps=100, fault=fault, half="c", seed=27, given=THRIFTY)
    found["dino-c-teacher-temperature-1"] = plan
    for recipe, seed in (("simclr", 28), ("vicreg", 29)):
        for steps, longer in ((1600, f"{recipe}-handful-3200"), (3200, "")):
            plan = Plan(recipe=recipe, steps=steps, seed=seed, half="c", data="handful")
            found[f"{recipe}-handful-{steps}"] = replace(plan, longer=longer, given=THRIFTY)
    return found


def _hardly():
    """Hardly begun, of networks whose norms keep averages; 20 steps of one looked learnt in "c"."""
    found = {}
    for seed, recipe in enumerate(
        ("autoencoder", "denoising", "infomax", "exemplar", "drlim", "moco"), start=30
    ):
        for steps in (2, 20):
            plan = Plan(recipe=recipe, steps=steps, seed=seed, half="d", given=THRIFTY)
            found[f"{recipe}-d-{steps}"] = plan
    return found


def _near_one_place():
    """What two rules were changed for after "d": projections near one place, and half-solved tasks.

    Healthy trainings of methods without negatives, whose alarm that change made easier to raise,
    are the greater part.
    """
    found = {}
    fault = "predictor removed"
    for seed, steps in ((40, 100), (41, 300)):
        plan = Plan(recipe="byol", steps=steps, seed=seed, half="e", fault=fault, given=THRIFTY)
        found[f"byol-e-predictor-removed-{steps}"] = plan
    for seed, recipe in enumerate(
        ("byol", "simsiam", "barlow", "vicreg", "dino", "swav", "wmse", "tico", "moco", "nnclr"),
        start=42,
    ):
        given = {"data.batch_size": 128} if recipe == "wmse" else THRIFTY  # its sub-batches
        plan = Plan(recipe=recipe, steps=100, seed=seed, half="e", given=given)
        found[f"{recipe}-e-100"] = plan
    for seed, recipe in ((52, "mae"), (53, "simmim"), (54, "rotation"), (55, "autoencoder")):
        for steps, data in ((300, "images"), (150, "noise")):
            plan = Plan(recipe=recipe, steps=steps, seed=seed, half="e", data=data, given=THRIFTY)
            found[f"{recipe}-e-{'noise' if data == 'noise' else steps}"] = plan
    return found


def _to_the_end():
    """So few images, so often seen, that twice the steps might bring no more."""
    found = {}
    for recipe, seed, least in (("simclr", 56, 6400), ("rotation", 57, 1600)):
        for steps, longer in ((least, f"{recipe}-e-{2 * least}"), (2 * least, "")):
            plan = Plan(recipe=recipe, steps=steps, seed=seed, half="e", data="handful")
            found[f"{recipe}-e-{steps}"] = replace(plan, longer=longer, given=THRIFTY)
    return found


def _once_more():
    """What was answered wrongly in "e", with other seeds, and more of the same kinds."""
    found = {}
    for seed, (recipe, steps) in enumerate(
        (
            *(("barlow", 100), ("moco", 100), ("nnclr", 100), ("vicreg", 300), ("simclr", 300)),
            *(("byol", 300), ("autoencoder", 300), ("denoising", 300), ("rotation", 300)),
            *(("infomax", 300), ("triplet", 300), ("exemplar", 300)),
        ),
        start=60,
    ):
        plan = Plan(recipe=recipe, steps=steps, seed=seed, half="f", given=THRIFTY)
        found[f"{recipe}-f-{steps}"] = plan
    return found


def _healthy(half, first, listed):
    """Of recipes and steps, with seeds that count up."""
    found = {}
    for seed, (recipe, steps) in enumerate(listed, start=first):
        given = {"data.batch_size": 128} if recipe == "wmse" else THRIFTY  # its sub-batches
        plan = Plan(recipe=recipe, steps=steps, seed=seed, half=half, given=given)
        found[f"{recipe}-{half}-{steps}"] = plan
    return found


def _faulty(half, first, listed, *, steps):
    """Of recipes and faults, likewise."""
    return {
        f"{recipe}-{half}-{fault.replace(' ', '-')}": Plan(
            recipe=recipe, steps=steps, fault=fault, half=half, seed=seed, given=THRIFTY
        )
        for seed, (recipe, fault) in enumerate(listed, start=first)
    }


def _hopeless_too(half, first, listed, *, steps, data="noise"):
    """Of recipes, on data that teach nothing, likewise."""
    word = {"noise": "noise", "one": "one-image"}[data]
    return {
        f"{recipe}-{half}-{word}": Plan(
            recipe=recipe, steps=steps, data=data, half=half, seed=seed, given=THRIFTY
        )
        for seed, recipe in enumerate(listed, start=first)
    }


def _untouched():
    """Of every kind once more, with other seeds, most by methods that no half before has seen."""
    found = {}
    healthy = (
        *(("npid", 300), ("pcl", 300), ("dcl", 300), ("hcl", 300), ("align-uniform", 300)),
        *(("lejepa", 300), ("visreg", 300), ("er", 300), ("deepcluster", 300), ("pirl", 300)),
        *(("amdim", 300), ("infomax", 300), ("wmse", 300), ("tico", 300), ("simsiam", 300)),
        *(("barlow", 300), ("moco", 300), ("swav", 300)),
        *(("context", 300), ("jigsaw", 300), ("autoencoder", 300), ("rotation", 900)),
        *(("simclr", 900), ("vicreg", 900), ("byol", 900), ("nnclr", 20), ("lejepa", 20)),
        *(("visreg", 2), ("denoising", 20)),
    )
    found |= _healthy("g", 80, healthy)
    broken = (
        *(("byol", "predictor removed"), ("vicreg", "constant head"), ("moco", "constant head")),
        *(("simsiam", "constant head"), ("dino", "teacher temperature 1")),
        *(("byol", "teacher shares storage"), ("barlow", "no augmentation")),
        *(("rotation", "constant head"), ("nnclr", "constant head")),
    )
    found |= _faulty("g", 120, broken, steps=200)
    noise = ("npid", "lejepa", "vicreg", "infomax")
    found |= _hopeless_too("g", 130, noise, steps=200)
    found |= _hopeless_too("g", 134, ("barlow",), steps=60, data="one")
    plan = Plan(recipe="simclr", steps=600, cut=300, half="g", seed=135, given=THRIFTY)
    found["simclr-g-killed"] = plan
    for name, recipe, data, hotter in (
        *(("ruined", "vicreg", "images", 20.0), ("on-noise", "vicreg", "noise", 1.0)),
        ("goes-on", "simclr", "images", 1.0),
    ):
        given = THRIFTY | {"hotter": hotter}
        plan = Plan(recipe=recipe, steps=150, start="simclr-g-900", half="g", seed=136, data=data)
        found[f"start-g-{name}"] = replace(plan, given=given)
    for recipe, seed in (("simclr", 137), ("vicreg", 138)):
        for steps, longer in ((6400, f"{recipe}-g-12800"), (12800, "")):
            plan = Plan(recipe=recipe, steps=steps, seed=seed, half="g", data="handful")
            given = THRIFTY | {"encoder.width": 4}  # so small that it might have learnt all it can
            found[f"{recipe}-g-{steps}"] = replace(plan, longer=longer, given=given)
    return found


def _after_them():
    """What "g" answered wrongly, with other seeds, and more of every kind."""
    found = {}
    healthy = (
        *(("swav", 300), ("swav", 400), ("exemplar", 300), ("moco", 300), ("pcl", 300)),
        *(("vicreg", 300), ("simclr", 300), ("byol", 300), ("dino", 300), ("barlow", 300)),
        *(("triplet", 300), ("nnclr", 300), ("simsiam", 300), ("drlim", 300), ("tico", 300)),
        *(("sela-v2", 300), ("mocov3", 300), ("dclw", 300), ("rotation", 300)),
        *(("jigsaw", 300), ("denoising", 300), ("rotation", 20), ("jigsaw", 20)),
        *(("dcl", 2), ("hcl", 20)),
    )
    found |= _healthy("h", 150, healthy)
    broken = (
        *(("rotation", "constant head"), ("jigsaw", "constant head")),
        *(("context", "constant head"), ("triplet", "constant head")),
        *(("byol", "predictor removed"), ("dino", "teacher shares storage")),
    )
    found |= _faulty("h", 180, broken, steps=150)
    noise = ("rotation", "context", "jigsaw", "swav", "pcl")
    found |= _hopeless_too("h", 190, noise, steps=150)
    found |= _hopeless_too("h", 196, ("simclr",), steps=60, data="one")
    plan = Plan(recipe="barlow", steps=400, cut=200, half="h", seed=197, given=THRIFTY)
    found["barlow-h-killed"] = plan
    for name, recipe, data, hotter in (
        *(("ruined", "simclr", "images", 20.0), ("on-noise", "barlow", "noise", 1.0)),
        ("goes-on", "vicreg", "images", 1.0),
    ):
        given = THRIFTY | {"hotter": hotter}
        plan = Plan(recipe=recipe, steps=150, start="simclr-h-300", half="h", seed=198, data=data)
        found[f"start-h-{name}"] = replace(plan, given=given)
    return found


def _of_near_projections():
    """Contrastive trainings of every kind, for whose loss an alarm of "h" was changed."""
    found = {}
    healthy = (
        *(("pcl", 200), ("moco", 200), ("mocov3", 200), ("npid", 200), ("nnclr", 200)),
        *(("simclr", 200), ("dcl", 200), ("debiased", 200), ("infomin", 200), ("pirl", 200)),
        *(("er", 200), ("amdim", 200), ("vicreg", 200), ("byol", 200), ("pcl", 20)),
        *(("npid", 20), ("mocov3", 2)),
    )
    found |= _healthy("i", 200, healthy)
    noise = ("pcl", "moco", "mocov3", "nnclr", "dcl", "hcl")
    found |= _hopeless_too("i", 220, noise, steps=150)
    broken = (
        *((name, "constant head") for name in ("moco", "simclr", "dcl", "nnclr", "mocov3")),
        ("pcl", "constant head"),
    )
    found |= _faulty("i", 230, broken, steps=100)
    found |= _hopeless_too("i", 240, ("moco", "pcl"), steps=60, data="one")
    plan = Plan(recipe="moco", steps=300, cut=150, half="i", seed=242, given=THRIFTY)
    found["moco-i-killed"] = plan
    return found
