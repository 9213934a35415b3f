"""What is said of a training first: three questions, and what to do next.

Did it learn anything, has it collapsed, was that enough: each with a number, a light, a sentence.
The wording is here; what it rests on is measured elsewhere and handed in as `Evidence`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from manyviews.core.nouns import SAMPLE, Noun
from manyviews.core.passes import round_passes
from manyviews.diagnosis.against import LEAST, Against
from manyviews.diagnosis.alarms import Light
from manyviews.diagnosis.course import Trend
from manyviews.diagnosis.state import FeatureState

FEW = 50.0
"""Passes over the data below which more are the first thing to try; see
docs/experiments/verdict.md."""
_HARDLY = 2.0
"""Passes below which it is as good as certain that nothing was learnt."""
WORDS: Mapping[Light, str] = {"ok": "ok", "warn": "watch", "bad": "alarm"}
"""How a light is called."""
COLLAPSED = "Has it collapsed?"
"""The second question."""
_ORDER: tuple[Light, ...] = ("ok", "warn", "bad")
_MOST = 3
_NOTHING = "Not a single step was made."
_SOLVED = 0.97
"""A task's loss as a share of a guess's below which something was learned of it: of noise it stays
at 1.00, and after 20 steps MAE's is above 1."""
_HALVED, _NARROWED = 0.5, 0.9
"""Shares of an untrained encoder's LiDAR below which the measures are mixed; the second is of
tasks that do not make views alike."""
_LEARNING = ("not_learning", "views_lost")
"""Alarms that answer the first question: a training that has hardly begun is no collapse."""


@dataclass(frozen=True, kw_only=True)
class Raised:
    """An alarm of a training.

    Attributes:
        name: of the rule.
        light: its own.
        message: what was seen, the likely cause, and what to try.
        passed: whether the last check of the training saw nothing wrong any more.
    """

    name: str
    light: Light
    message: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Course:
    """How far a training came.

    Attributes:
        steps: optimiser steps done.
        samples: in the data.
        passes: how often each was seen, as `core.passes` counts.
        share: of what was asked for, 0 to 1.
        trend: where it was going, where that was measured.
    """

    steps: int
    samples: int
    passes: float
    share: float
    trend: Trend | None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a verdict is made of; all but the state may be missing.

    Attributes:
        state: of the features.
        untrained: the encoder against itself before training.
        start: against the weights that it began from.
        alarms: of the training.
        course: of the training.
        task: the loss of a task that does not make views alike, near the end, as a share of what
            the best answer costs that looks at no image; None for other methods.
        noun: what samples are called.
    """

    state: FeatureState
    untrained: Against | None = None
    start: Against | None = None
    alarms: Sequence[Raised] = ()
    course: Course | None = None
    task: float | None = None
    noun: Noun = SAMPLE


@dataclass(frozen=True, kw_only=True)
class Commands:
    """What commands can be built from, quoted for a shell; "" for what there is none of.

    Attributes:
        run: the run directory.
        again: `manyviews train` with the run's recipe and data.
        data: the data.
        longer: settings of a training of `factor` times the length.
        factor: twice, or what it takes to make `FEW` passes.
        hours: that such a training takes at the speed of this one.
        gentler: settings of one with a lower learning rate.
        start: what the run began from.
        best: step of the checkpoint to take instead of the newest; 0 for none.
    """

    run: str
    again: str
    data: str
    longer: str
    gentler: str
    factor: int = 2
    hours: float = 0.0
    start: str = ""
    best: int = 0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One of the three questions, answered.

    Attributes:
        question: in words.
        light: ok, warn ("watch") or bad ("alarm").
        number: what it rests on.
        sentence: what that means.
    """

    question: str
    light: Light
    number: str
    sentence: str

    def line(self) -> str:
        """For people."""
        return f"[{WORDS[self.light]}] {self.question} {self.number}. {self.sentence}"


@dataclass(frozen=True, kw_only=True)
class Next:
    """A command to type, and why."""

    command: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answers, in the order in which they matter.

    Attributes:
        answers: did it learn anything, has it collapsed, was that enough; without a training the
            second alone.
        next: one to three commands, the most useful first; none without a run.
    """

    answers: tuple[Answer, ...]
    next: tuple[Next, ...] = field(default=())

    @property
    def light(self) -> Light:
        """The worst of the answers'."""
        lights: list[Light] = [answer.light for answer in self.answers]
        return gravest(*lights)

    def lines(self) -> list[str]:
        """For people."""
        said = [answer.line() for answer in self.answers]
        if self.next:
            said += ["", "Next:"]
        for step in self.next:
            said += [f"  {step.command}", f"    {step.why}"]
        return said

    def to_json(self) -> dict[str, Any]:
        """Plain text."""
        return asdict(self) | {"light": self.light}


def verdict(evidence: Evidence, plan: Commands | None = None) -> Verdict:
    """Answer the three questions, and say what to do.

    The thresholds are our own, chosen on one half of the trainings of docs/experiments/verdict.md
    and judged on the other.

    Args:
        evidence: what was measured.
        plan: what commands are built from; None where there is no run.
    """
    course = evidence.course
    learned, state = _learned(evidence), _collapsed(evidence)
    enough = None if course is None else _enough(course, evidence.noun)
    answers = [one for one in (learned, state, enough) if one is not None]
    found = [] if plan is None or len(answers) < 3 else _next(evidence, plan, answers)
    return Verdict(answers=tuple(answers), next=tuple(found[:_MOST]))


def gravest(*lights: Light) -> Light:
    """The worst of some lights."""
    return _ORDER[max(map(_ORDER.index, lights))]


def _learned(evidence: Evidence) -> Answer | None:
    question = "Did it learn anything?"
    doubts = (_left_open(evidence), _mixed(evidence), _unseen(evidence))
    untrained = next((one for one in doubts if one is not None), evidence.untrained)
    held = [one for one in (evidence.start, untrained) if one is not None]
    if not held and evidence.course is None:
        return None
    if not held:
        return Answer(
            question=question,
            light="warn",
            number="not measured",
            sentence="There was nothing to compare it with.",
        )
    worst = max(held, key=lambda one: _ORDER.index(one.light))
    light, said = worst.light, worst.sentence
    if evidence.course is not None and evidence.course.steps == 0:  # differs by statistics alone
        light, said = gravest(light, "warn"), _NOTHING
    alarm = _worst(evidence, learning=True)
    if alarm is not None:
        light, said = gravest(light, "warn"), f"{said} Watch: {alarm.message}"
    return Answer(question=question, light=light, number=worst.number, sentence=said)


def _left_open(evidence: Evidence) -> Against | None:
    """What is said of a task that was partly solved, where neither views nor labels tell more.

    Masked and pretext methods need not bring the views of an image together: where views are no
    more alike, a task that is partly solved may have taught something. But that they solve it does
    not mean that features are better: a context task that is solved by edges left them worse by
    0.018 in kNN (docs/experiments/verdict.md).
    """
    beside, task = evidence.untrained, evidence.task
    if beside is None or task is None or beside.labelled is not None:
        return None
    if task > _SOLVED or beside.light != "warn":
        return None
    return replace(
        beside,
        standing="open",
        sentence=f"Open. It solves part of its task, whose loss is {task:.2f} of what a guess "
        "costs, but need not bring views together for it: only labels tell whether features are "
        "better.",
        before={**beside.before, "over_guess": 1.0},
        after={**beside.after, "over_guess": task},
        by="over_guess",
    )


def _mixed(evidence: Evidence) -> Against | None:
    """What is said where views have more neighbours in common, and LiDAR fell by much.

    By three fifths in Deep InfoMax, which was worse by 0.022 in kNN, and in an autoencoder, whose
    task need not bring views together, by a quarter, worse by 0.010; SimCLR loses a fifth
    and is better (docs/experiments/verdict.md).
    """
    beside = evidence.untrained
    if beside is None or beside.standing != "better" or beside.labelled is not None:
        return None
    least = _HALVED if evidence.task is None else _NARROWED
    if beside.after.get("lidar", math.inf) >= least * beside.before.get("lidar", 0.0):
        return None
    return replace(
        beside,
        standing="open",
        light="warn",
        sentence=f"Open. The measures are mixed: {beside.sentence.partition(': ')[2]} Only labels "
        "tell whether features are better.",
    )


def _unseen(evidence: Evidence) -> Against | None:
    """What is said after a few passes, where neighbours have not moved either way.

    Trainings of 3 passes gained up to 0.017 in kNN while shared neighbours rose by 0.002, less than
    untrained encoders differ by (docs/experiments/verdict.md). Of fewer passes than `_HARDLY` it
    is right to say that nothing was learnt.
    """
    beside, course = evidence.untrained, evidence.course
    if beside is None or course is None or not _HARDLY <= course.passes < FEW:
        return None
    if beside.labelled is not None or beside.standing != "no better":
        return None
    if not all(beside.by in side for side in (beside.before, beside.after)):
        return None
    if beside.before[beside.by] - beside.after[beside.by] > LEAST:
        return None
    if _collapsed(evidence).light == "bad":
        return None
    seen = f"{round_passes(course.passes)} passes"
    return replace(
        beside,
        standing="open",
        sentence=f"Open. After {seen} what little is learnt cannot be seen without labels: "
        f"{beside.sentence.partition(': ')[2]}",
    )


def _collapsed(evidence: Evidence) -> Answer:
    state = evidence.state
    light, said = state.light, [state.sentence]
    alarm = _worst(evidence)
    if alarm is not None:
        light = gravest(light, alarm.light)
        said = [f"{'Alarm' if alarm.light == 'bad' else 'Watch'}: {alarm.message}"]
        said += [state.sentence] if state.light != "ok" else []
    past = [alarm for alarm in evidence.alarms if alarm.passed and alarm.light == "bad"]
    if past and light == "ok":
        said.append(f"An alarm was raised on the way and passed ({past[0].name}).")
    return Answer(
        question=COLLAPSED,
        light=light,
        number=f"{state.directions:,.0f} of {state.width:,} directions",
        sentence=" ".join(said),
    )


def _worst(evidence: Evidence, *, learning: bool = False) -> Raised | None:
    """The first of the gravest alarms that have not passed, on learning or on collapse."""
    alarms = [alarm for alarm in evidence.alarms if (alarm.name in _LEARNING) == learning]
    active = [alarm for alarm in alarms if not alarm.passed]
    return max(active, key=lambda alarm: _ORDER.index(alarm.light), default=None)


def _enough(course: Course, noun: Noun) -> Answer:
    trend = course.trend
    light: Light = "warn"
    if course.steps == 0:
        light, sentence = "bad", _NOTHING
    elif course.share < 1:
        sentence = f"It stopped at {course.share:.0%} of the training that was asked for."
    elif trend is not None and trend.state == "getting worse":
        sentence = trend.sentence
    elif course.passes < FEW:
        sentence = f"That is little: below {FEW:.0f} passes, train longer first."
        sentence += f" {trend.sentence}" if trend is not None and trend.rising else ""
    elif trend is None:
        sentence = "Whether more would help, this run cannot tell."
    elif trend.rising or not trend.measure:
        sentence = trend.sentence
    else:
        light, sentence = "ok", trend.sentence
    return Answer(
        question="Was that enough?",
        light=light,
        number=f"{round_passes(course.passes)} passes over {course.samples:,} {noun.many}, "
        f"{course.steps:,} steps",
        sentence=sentence,
    )


def _next(evidence: Evidence, plan: Commands, answers: Sequence[Answer]) -> list[Next]:
    """What to type, the most useful first."""
    learned, state, enough = answers
    course, noun = evidence.course, evidence.noun
    if course is not None and course.share < 1 and state.light != "bad":
        return [Next(command=f"manyviews resume {plan.run}", why="It is not finished.")]
    if state.light == "bad":
        return _mend(evidence, plan)
    found: list[Next] = []
    if evidence.start is not None and evidence.start.light == "bad":
        found += _keep_the_start(plan)
    elif enough.light == "warn":
        found.append(
            Next(
                command=f"{plan.again} {plan.longer}",
                why=f"{plan.factor} times as long, about {_time(plan.hours)} at the speed of this "
                "run.",
            )
        )
    elif learned.light != "ok":
        found.append(_look_at_data(plan, noun))
    if learned.light != "ok":
        found.append(
            Next(
                command=f"manyviews report {plan.run}",
                why=f"Look at the views: can you tell which two are of one {noun.one}, but not by "
                "something as simple as colour, place or loudness alone?",
            )
        )
    if plan.best:
        found.append(
            Next(
                command=f"manyviews export {plan.run} --step best --out encoder.safetensors",
                why=f"Of the checkpoints that were kept step {plan.best} looks best.",
            )
        )
    return [
        *found,
        Next(
            command=f"manyviews evaluate {plan.run} --data LABELLED --protocol knn linear",
            why="A few labels tell what none of this can: how good it is for your task.",
        ),
    ]


def _time(hours: float) -> str:
    minutes = max(1, round(60 * hours))
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _look_at_data(plan: Commands, noun: Noun) -> Next:
    return Next(command=f"manyviews doctor {plan.data}", why=f"Are they the right {noun.many}?")


def _mend(evidence: Evidence, plan: Commands) -> list[Next]:
    """Of a training that collapsed or is broken."""
    alike = evidence.untrained is not None and evidence.untrained.before.get("collapsed") == 1
    look = _look_at_data(plan, evidence.noun)
    if alike:
        why = f"An untrained encoder cannot tell these {evidence.noun.many} apart either: they are "
        why += "all alike."
        return [Next(command=look.command, why=why)]
    first = _worst(evidence)
    why = "A lower learning rate is the first thing to try."
    return [
        Next(command=f"{plan.again} {plan.gentler}", why=first.message if first else why),
        Next(command=f"manyviews report {plan.run}", why="When it began, and which views it saw."),
        look,
    ]


def _keep_the_start(plan: Commands) -> list[Next]:
    return [
        Next(
            command=f"manyviews embed {plan.start} --data {plan.data} --out features.parquet",
            why="The weights that it began from are better than the result.",
        ),
        Next(command=f"{plan.again} {plan.gentler}", why="A lower rate changes less of it."),
    ]
