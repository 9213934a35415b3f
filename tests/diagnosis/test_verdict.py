"""Three questions and what to do next, in words."""

import re
from dataclasses import replace

import pytest
import torch

from manyviews.core.nouns import NOUNS
from manyviews.diagnosis.against import ByLabels, judge_start, judge_untrained
from manyviews.diagnosis.alarms import RULES
from manyviews.diagnosis.course import Trend
from manyviews.diagnosis.explain import MEASURES
from manyviews.diagnosis.state import FeatureState, state_of
from manyviews.diagnosis.verdict import FEW, Commands, Course, Evidence, Raised, verdict

SOUND = FeatureState(
    title="not collapsed",
    light="ok",
    sentence="Not collapsed: 90 of 128 directions are used.",
    directions=90.0,
    width=128,
    rows=500,
    numbers={},
)
GONE = replace(SOUND, title="complete collapse", light="bad", sentence="Complete collapse: no.")
BEFORE = {"view_consistency": 0.2, "shared_neighbours": 0.1, "lidar": 20.0, "collapsed": 0.0}
AFTER = {"view_consistency": 0.8, "shared_neighbours": 0.4, "lidar": 50.0, "collapsed": 0.0}
LEARNED, NOT = judge_untrained(BEFORE, AFTER), judge_untrained(BEFORE, BEFORE)
WORSE = judge_start(AFTER, BEFORE)
STOPPED = Trend(state="stop", sentence="Stop: no.", measure="view_consistency", light="ok")
DONE = Course(steps=900, samples=1000, passes=2 * FEW, share=1.0, trend=STOPPED)
COMMANDS = Commands(
    run="run",
    again="manyviews train r --data photos",
    data="photos",
    longer="--train.minutes 40 --out run-longer",
    gentler="--optim.lr 0.1 --out run-gentler",
    start="other",
)


def found(plan=COMMANDS, **changes):
    whole = Evidence(state=SOUND, untrained=LEARNED, course=DONE)
    return verdict(replace(whole, **changes), plan)


def lights(said):
    return [answer.light for answer in said.answers]


def commands(said):
    return [step.command for step in said.next]


def test_the_questions_come_in_order_each_with_a_number_and_a_light():
    said = found()
    assert [a.question for a in said.answers] == [
        "Did it learn anything?",
        "Has it collapsed?",
        "Was that enough?",
    ]
    assert lights(said) == ["ok"] * 3
    assert said.light == "ok"
    assert all(any(c.isdigit() for c in answer.number) for answer in said.answers)
    first = said.lines()[0]
    assert first.startswith("[ok] Did it learn anything? shared neighbours 0.400, the untr")
    assert commands(said) == ["manyviews evaluate run --data LABELLED --protocol knn linear"]


@pytest.mark.parametrize("trend", [None, replace(STOPPED, measure="", sentence="It cannot tell.")])
def test_what_nothing_was_measured_of_was_not_enough_for_certain(trend):
    said = found(course=replace(DONE, trend=trend)).answers[2]
    assert said.light == "warn"
    assert "cannot tell" in said.sentence


def test_a_network_that_was_hardly_trained_is_never_all_green():
    said = found(untrained=NOT, course=replace(DONE, steps=2, passes=0.6))
    assert lights(said) == ["warn", "ok", "warn"]
    assert "0.6 passes" in said.answers[2].number
    assert commands(said)[0].endswith("--train.minutes 40 --out run-longer")
    nothing = found(untrained=NOT, course=replace(DONE, steps=0, passes=0.0))
    assert nothing.answers[2].light == nothing.light == "bad"
    chance = found(untrained=LEARNED, course=replace(DONE, steps=0, passes=0.0))
    assert chance.answers[0].light == "warn"
    assert chance.answers[0].sentence == "Not a single step was made."


def test_the_worse_of_start_and_untrained_is_told():
    said = found(start=WORSE)
    assert lights(said)[0] == "bad"
    assert said.answers[0].sentence == WORSE.sentence
    assert commands(said)[0].startswith("manyviews embed other --data photos")
    assert found(start=judge_start(BEFORE, AFTER), untrained=NOT).answers[0].light == "warn"


def alarm(light, *, passed=False):
    return Raised(name="rule", light=light, message="seen. Likely cause: x.", passed=passed)


def test_an_alarm_is_a_collapse_though_the_features_look_well():
    for light, word in (("bad", "Alarm: seen"), ("warn", "Watch: seen")):
        said = found(alarms=[alarm("warn"), alarm(light)])
        assert said.answers[1].light == light
        assert said.answers[1].sentence.startswith(word)
    assert commands(found(alarms=[alarm("bad")]))[0].endswith("--optim.lr 0.1 --out run-gentler")


def test_a_task_that_is_partly_solved_leaves_it_open_where_views_are_no_more_alike():
    said = found(untrained=NOT, task=0.9).answers[0]
    assert (said.light, said.number) == (
        "warn",
        "loss over that of a guess 0.900, the untrained encoder 1.000",
    )
    assert said.sentence.startswith("Open. It solves part of its task, whose loss is 0.90")
    for task in (0.98, None):
        assert found(untrained=NOT, task=task).answers[0] == found(untrained=NOT).answers[0]


@pytest.mark.parametrize(
    ("lidar", "task", "is_open"),
    [(17.9, 0.5, True), (18.1, 0.5, False), (17.9, None, False), (9.9, None, True)],
)
def test_views_that_are_more_alike_leave_it_open_where_lidar_fell_by_much(lidar, task, is_open):
    """The untrained encoder's is 20."""
    beside = judge_untrained(BEFORE, AFTER | {"lidar": lidar})
    said = found(untrained=beside, task=task).answers[0]
    assert said.light == ("warn" if is_open else "ok")
    assert said.sentence.startswith("Open. The measures are mixed") == is_open
    assert "LiDAR" in said.sentence


@pytest.mark.parametrize(
    ("passes", "after", "is_open"),
    [
        *((1.9, 0.1, False), (2.0, 0.1, True), (FEW - 1, 0.1, True), (FEW, 0.1, False)),
        *((10.0, 0.0951, True), (10.0, 0.0949, False), (10.0, 0.1049, True)),
    ],
)
def test_after_a_few_passes_neighbours_that_stand_still_leave_it_open(passes, after, is_open):
    beside = judge_untrained(BEFORE, BEFORE | {"shared_neighbours": after})
    said = found(untrained=beside, course=replace(DONE, passes=passes)).answers[0]
    assert said.sentence.startswith("Open. After") == is_open
    assert said.light == "warn"
    assert "shared neighbours" in said.sentence
    assert said.number.startswith(f"shared neighbours {after:.3f}, the untrained encoder 0.100")


def test_labels_and_a_better_standing_are_not_left_open_after_a_few_passes():
    few = replace(DONE, passes=10.0)
    assert found(course=few).answers[0] == found().answers[0]
    labels = ByLabels("kNN", 0.7, 0.7, 0.0, -0.1, 0.1)
    beside = judge_untrained(BEFORE, BEFORE, labelled=labels)
    said = found(untrained=beside, course=few).answers[0]
    assert said.sentence.startswith("No better than before training")
    assert said.number.startswith("kNN")
    said = found(untrained=NOT, course=few, state=GONE).answers[0]
    assert said.sentence.startswith("No better than before training")


def test_a_task_overrules_no_better_evidence():
    assert found(untrained=NOT, task=0.7, start=WORSE).answers[0].light == "bad"
    assert found(untrained=LEARNED, task=0.7).answers[0].number.startswith("shared neighbours")
    labels = ByLabels("kNN", before=0.8, after=0.8, difference=0.0, low=-0.02, high=0.02)
    labelled = judge_untrained(BEFORE, BEFORE, labelled=labels)
    assert found(untrained=labelled, task=0.7).answers[0].light == labelled.light == "warn"


def test_a_loss_at_chance_is_no_collapse():
    said = found(alarms=[replace(alarm("bad"), name="not_learning")])
    assert lights(said) == ["warn", "ok", "ok"]
    assert "Watch: seen" in said.answers[0].sentence


def test_an_alarm_that_passed_is_told_and_is_none():
    said = found(alarms=[alarm("bad", passed=True)])
    assert said.answers[1].light == "ok"
    assert "passed (rule)" in said.answers[1].sentence
    assert "passed" not in found(alarms=[alarm("warn", passed=True)]).answers[1].sentence


def test_images_that_are_all_alike_send_to_the_data():
    alike = judge_untrained(BEFORE | {"collapsed": 1.0}, AFTER | {"collapsed": 1.0})
    said = found(state=GONE, untrained=alike)
    assert lights(said)[1] == "bad"
    assert commands(said) == ["manyviews doctor photos"]
    assert "all alike" in said.next[0].why
    assert len(commands(found(state=GONE))) == 3


@pytest.mark.parametrize(
    ("state", "rising", "light"),
    [
        ("stop", False, "ok"),
        ("ended", False, "ok"),
        ("ended", True, "warn"),
        ("still improving", True, "warn"),
        ("getting worse", False, "warn"),
        ("too early", False, "warn"),
    ],
)
def test_a_trend_tells_whether_it_was_enough(state, rising, light):
    measure = "" if state == "too early" else "view_consistency"
    trend = Trend(state=state, sentence="As said.", measure=measure, light="ok", rising=rising)
    answer = found(course=replace(DONE, trend=trend)).answers[2]
    assert (answer.light, answer.sentence) == (light, "As said.")


def test_an_unfinished_training_is_to_be_resumed():
    said = found(course=replace(DONE, share=0.4))
    assert said.answers[2].light == "warn"
    assert "40%" in said.answers[2].sentence
    assert commands(said) == ["manyviews resume run"]


def test_the_best_checkpoint_is_exported_where_it_is_not_the_newest():
    assert not any("--step" in command for command in commands(found()))
    said = commands(found(plan=replace(COMMANDS, best=300)))
    assert said[0] == "manyviews export run --step best --out encoder.safetensors"


def test_there_are_one_to_three_commands_whatever_is_found():
    for state in (SOUND, GONE):
        for untrained in (LEARNED, NOT, None):
            for start in (WORSE, None):
                for passes in (0.5, 2 * FEW):
                    plan = replace(COMMANDS, best=9)
                    course = replace(DONE, passes=passes)
                    said = found(
                        plan=plan, state=state, untrained=untrained, start=start, course=course
                    )
                    assert 1 <= len(said.next) <= 3
                    assert all(step.why for step in said.next)


def test_without_a_training_only_a_collapse_can_be_told():
    said = verdict(Evidence(state=SOUND))
    assert [answer.question for answer in said.answers] == ["Has it collapsed?"]
    assert said.next == ()
    assert said.to_json()["light"] == "ok"


CLOUD = NOUNS["points"]


def test_next_steps_speak_of_what_the_data_are():
    little = replace(DONE, passes=3.0)
    for course in (DONE, little):
        said = "\n".join(found(untrained=NOT, course=course, noun=CLOUD).lines())
        assert "1,000 clouds" in said
        assert "image" not in said
    alike = judge_untrained(BEFORE | {"collapsed": 1.0}, AFTER | {"collapsed": 1.0})
    said = found(state=GONE, untrained=alike, noun=CLOUD)
    assert said.next[0].why.startswith("An untrained encoder cannot tell these clouds apart")
    assert "image" not in "\n".join(said.lines())


def test_alarms_and_states_and_measures_speak_of_what_the_data_are():
    told = [text for rule in RULES for text in (rule.message, rule.cause)]
    told += [text for measure in MEASURES.values() for text in vars(measure.of(CLOUD)).values()]
    torch.manual_seed(0)
    for x in (torch.ones(9, 4), torch.randn(50, 1) @ torch.randn(1, 90), torch.randn(300, 8)):
        for entropy in (0.4, 0.99):
            told.append(state_of(x, target_entropy=entropy, noun=CLOUD).sentence)
    for text in told:
        assert not re.search(r"\bimages?\b", CLOUD.fill(text)), text
        assert "{sample" not in CLOUD.fill(text)
    assert any("different clouds get the same features" in text for text in told)
