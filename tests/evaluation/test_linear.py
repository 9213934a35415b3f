import pytest
import torch
from sklearn.linear_model import LogisticRegression

from manyviews.core import UsageError
from manyviews.evaluation.linear import hold_out, linear_probe


def blobs(n, *, seed, classes=6, d=24, spread=2.0):
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(0))
    mix = torch.randn(d, d, generator=torch.Generator().manual_seed(1))
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, classes, (n,), generator=g)
    return (centres[y] + spread * torch.randn(n, d, generator=g)) @ mix + 3, y


def test_at_one_decay_the_weights_are_those_of_sklearn():
    x, y = blobs(400, seed=1)
    decay = 3e-3
    predictions, probe = linear_probe(x, y, x, decays=[decay], iterations=300)
    mean, std = x.mean(dim=0), x.std(dim=0)
    torch.testing.assert_close(probe.mean, mean)
    torch.testing.assert_close(1 / probe.scale, std, rtol=1e-4, atol=0)
    model = LogisticRegression(C=1 / (decay * len(x)), tol=1e-6, max_iter=1000)
    model.fit(((x - mean) / std).double().numpy(), y.numpy())
    ours = probe.weight - probe.weight.mean(dim=0)  # softmax leaves a common shift open
    theirs = torch.tensor(model.coef_ - model.coef_.mean(axis=0)).float()
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.03)
    agree = (predictions == torch.tensor(model.predict(((x - mean) / std).numpy()))).float().mean()
    assert agree > 0.98


def test_the_chosen_probe_is_as_accurate_as_the_best_of_sklearn():
    x, y = blobs(300, seed=2)
    test_x, test_y = blobs(2000, seed=3)
    predictions, probe = linear_probe(x, y, test_x)
    mean, std = x.mean(dim=0), x.std(dim=0)
    best = 0.0
    for decay in (1e-1, 1e-2, 1e-3):
        model = LogisticRegression(C=1 / (decay * len(x)), max_iter=200)
        model.fit(((x - mean) / std).numpy(), y.numpy())
        best = max(best, model.score(((test_x - mean) / std).numpy(), test_y.numpy()))
    accuracy = float((predictions == test_y).float().mean())
    assert accuracy > best - 0.02  # one standard error is 0.011
    assert accuracy > 0.5
    assert probe.decay in probe.tried


def test_the_decay_is_chosen_by_held_out_training_labels():
    # a feature that gives each training label away and nothing else: only decay saves the probe
    g = torch.Generator().manual_seed(4)
    y = torch.arange(300) % 2
    signal = (y * 2 - 1)[:, None] + 1.0 * torch.randn(300, 1, generator=g)
    noise = torch.randn(300, 400, generator=g)
    x = torch.cat([signal, noise], dim=1)
    _, probe = linear_probe(x, y, x)
    assert probe.tried[probe.decay] == max(probe.tried.values())
    assert probe.decay >= 1e-2


def test_the_test_features_do_not_influence_the_probe():
    x, y = blobs(300, seed=5)
    _, a = linear_probe(x, y, x[:5])
    _, b = linear_probe(x, y, 100 * x[:50])
    assert torch.equal(a.weight, b.weight)
    assert a.tried == b.tried


def test_scaling_or_shifting_all_features_changes_nothing():
    x, y = blobs(400, seed=6)
    test_x, _ = blobs(400, seed=7)
    first, _ = linear_probe(x, y, test_x, decays=[1e-2])
    small, _ = linear_probe(1e-4 * x + 1, y, 1e-4 * test_x + 1, decays=[1e-2])
    assert (first == small).float().mean() > 0.99


def test_constant_and_single_features_are_no_trouble():
    y = torch.arange(40) % 2
    x = torch.stack([torch.ones(40), y.float()], dim=1)
    predictions, _ = linear_probe(x, y, x)
    assert torch.equal(predictions, y)
    nothing, _ = linear_probe(torch.ones(40, 3), y, torch.ones(5, 3))
    assert nothing.shape == (5,)


def test_parts_of_the_rows_give_the_same_probe(monkeypatch):
    x, y = blobs(300, seed=8)
    whole, probe = linear_probe(x, y, x, decays=[1e-3])
    monkeypatch.setattr("manyviews.evaluation.solver._CACHED", 100)
    parts, again = linear_probe(x, y, x, decays=[1e-3])
    assert (whole == parts).float().mean() > 0.99
    torch.testing.assert_close(probe.weight, again.weight, rtol=0.02, atol=0.01)


def test_a_share_of_every_class_is_held_out_and_one_always_stays():
    y = torch.tensor([0] * 50 + [1] * 20 + [2] * 3 + [3])
    held = hold_out(y, share=0.1, seed=0)
    assert [int(held[y == c].sum()) for c in range(4)] == [5, 2, 0, 0]
    assert torch.equal(held, hold_out(y, share=0.1, seed=0))
    assert not torch.equal(held, hold_out(y, share=0.1, seed=1))
    assert int(hold_out(torch.arange(10), share=0.9, seed=0).sum()) == 0


def test_a_handful_of_labels_is_enough():
    x = torch.eye(4).repeat(2, 1)
    y = torch.arange(4).repeat(2)
    predictions, _ = linear_probe(x, y, x)
    assert torch.equal(predictions, y)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"train_y": torch.zeros(10, dtype=torch.int64)}, "1 class"),
        ({"decays": []}, "decays"),
        ({"decays": [-1.0]}, "-1.0"),
        ({"train_x": torch.full((10, 4), torch.nan)}, "NaN"),
        ({"test_x": torch.ones(2, 3)}, "dimensions"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(change, word):
    given = {"train_x": torch.eye(10, 4), "train_y": torch.arange(10) % 2, "test_x": torch.eye(4)}
    with pytest.raises(UsageError) as caught:
        linear_probe(**(given | change))
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
