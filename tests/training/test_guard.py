import pytest
import torch
from torch import nn

from manyviews.training.guard import Guard, Undo, Vote, mean_vote, vote


def ask(loss=1.0, norm=1.0, other=2.0):
    return vote(
        {"a": torch.tensor(loss), "b": torch.tensor(other)},
        norm=torch.tensor(norm),
        stop=False,
        seconds=7.0,
    )


def test_a_finite_step_is_good():
    verdict = ask()
    assert verdict == Vote({"a": 1.0, "b": 2.0}, 1.0, fault="", stop=False, seconds=7.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_any_value_that_is_not_finite_is_a_fault(value):
    assert ask(loss=value).fault == "loss"
    assert ask(other=value).fault == "loss"
    assert ask(norm=value).fault == "gradient"


def test_losses_that_cancel_do_not_hide_each_other():
    assert ask(loss=float("inf"), other=-float("inf")).fault == "loss"


def test_micro_batches_are_averaged_and_the_last_decides():
    one = Vote({"a": 1.0}, 0.0, fault="", stop=True, seconds=1.0)
    two = Vote({"a": 3.0}, 5.0, fault="loss", stop=False, seconds=2.0)
    wanted = Vote({"a": 2.0}, 5.0, fault="loss", stop=True, seconds=2.0)
    assert mean_vote([one, two]) == wanted


def test_three_in_a_row_call_for_a_rewind_and_a_good_step_breaks_the_row():
    guard = Guard()
    assert [guard.bad(1), guard.bad(2)] == [False, False]
    guard.good()
    assert [guard.bad(s) for s in (4, 5, 6)] == [False, False, True]
    guard.rewound()
    assert (guard.rewinds, guard.skipped) == (1, 5)
    assert [guard.bad(s) for s in (7, 8, 9)] == [False, False, True]


def test_more_than_one_percent_of_a_thousand_calls_for_a_rewind():
    guard = Guard()
    for step in range(0, 1000, 100):
        assert not guard.bad(step)
        guard.good()
    assert guard.bad(999)


def test_one_percent_spread_over_more_than_a_thousand_does_not():
    guard = Guard()
    for step in range(0, 5000, 100):
        assert not guard.bad(step)
        guard.good()


def test_undo_puts_batch_norm_back_after_nan_input():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    model.register_buffer("queue", torch.zeros(2))
    model(torch.randn(4, 3))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    undo = Undo(model, everything=False)
    undo.keep()
    model(torch.full((4, 3), float("nan")))
    assert torch.isnan(model[0].running_mean).any()
    undo.undo()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_undo_of_everything_puts_other_buffers_back_even_if_replaced():
    model = nn.Module()
    model.register_buffer("queue", torch.zeros(2))
    for everything, wanted in ((False, 1.0), (True, 0.0)):
        model.queue = torch.zeros(2)
        undo = Undo(model, everything=everything)
        undo.keep()
        model.queue = torch.ones(2)
        undo.undo()
        assert model.queue[0] == wanted
