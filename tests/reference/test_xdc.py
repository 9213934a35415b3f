"""XDC against its description: labels of one modality, learnt by the other."""

import pytest
import torch
import torch.nn.functional as F
from raw import Raw, assert_same, gaussian

from manyviews.core import Batch, Clock, Given
from manyviews.methods.audiovisual.xdc import XDC, XDCConfig
from manyviews.parts.cluster import UNASSIGNED, spherical_kmeans
from manyviews.parts.whitening import whitened

SAMPLES, CLUSTERS = 40, 4
ROWS = {"video": gaussian(1, SAMPLES, 6).detach(), "audio": gaussian(2, SAMPLES, 5).detach()}


def make(source="cross", **settings):
    torch.manual_seed(0)
    config = XDCConfig(source=source, clusters=CLUSTERS, components=3, rounds=5, **settings)
    return XDC(Given({"video": Raw(6), "audio": Raw(5)}, SAMPLES), config).double()


def begun(method, rows=ROWS, epoch=0):
    torch.manual_seed(5)
    method.before_epoch(Clock(0, 10, epoch, 10), lambda embed: embed(rows))
    return method


def clustered(*sources, rows=ROWS):
    """Each source's clusters, found one after the other from the same random numbers."""
    unit = {k: F.normalize(whitened(x, components=3), dim=1) for k, x in rows.items()}
    unit["both"] = F.normalize(torch.cat([unit["video"], unit["audio"]], dim=1), dim=1)
    torch.manual_seed(5)
    return [spherical_kmeans(unit[s], count=CLUSTERS, rounds=5).assignment for s in sources]


def some_batch(views=2):
    index = torch.tensor([3, 9, 20, 1, 39])
    seen = {"video": gaussian(3, 5, views, 6), "audio": gaussian(4, 5, views, 5)}
    return Batch(seen, index)


PAIRS = {
    "cross": [("video", "audio"), ("audio", "video")],
    "self": [("video", "video"), ("audio", "audio")],
    "both": [("video", "audio"), ("audio", "video"), ("video", "video"), ("audio", "audio")],
    "joint": [("video", "both"), ("audio", "both")],
}


@pytest.mark.parametrize("source", PAIRS)
def test_a_network_learns_clusters_of_the_modality_that_is_said(source):
    """As described, in expectation over a sampler that is uniform over clusters."""
    method, batch = begun(make(source)), some_batch()
    losses = method(batch, Clock(0, 1)).losses
    assert len(losses) == len(PAIRS[source])
    sources = list(dict.fromkeys(of for _, of in PAIRS[source]))
    found = dict(zip(sources, clustered(*sources), strict=True))
    for head, (learner, of) in zip(method.heads, PAIRS[source], strict=True):
        own, total = found[of], 0.0
        sizes = own.bincount()
        for sample, k in enumerate(own[batch.index]):
            for x in batch.views[learner][sample]:
                scores = head.weight @ x + head.bias
                count = SAMPLES / ((sizes > 0).sum() * sizes[k])
                total = total - count * (scores[k] - scores.logsumexp(0)) / (5 * 2)
        inputs = [batch.views[learner], head.weight]
        # What samples count is kept in single precision.
        assert_same(losses[f"{learner}_by_{of}"], total, inputs, rtol=1e-6, atol=1e-8)


def test_every_clustering_begins_new_classifiers_and_between_two_nothing_changes():
    method = begun(make(every=3))
    state = {k: v.clone() for k, v in method.state_dict().items()}
    others = {name: x.flip(0) for name, x in ROWS.items()}
    for head in method.heads:
        head.bias.data.fill_(3.0)
    begun(method, others, epoch=2)
    assert all((head.bias == 3).all() for head in method.heads)
    assert torch.equal(method.cluster, state["cluster"])
    begun(method, others, epoch=3)
    assert not any(head.bias.any() for head in method.heads)
    assert torch.equal(method.cluster, torch.stack(clustered("audio", "video", rows=others)))
    assert method.heads[0].weight.std().item() == pytest.approx(0.01, rel=0.5)


def test_a_sample_without_readable_sound_teaches_pictures_nothing():
    rows = {name: x.clone() for name, x in ROWS.items()}
    rows["audio"][9] = torch.nan
    method = begun(make("cross"), rows)
    heard = method.sources.index("audio")
    assert method.cluster[heard, 9] == UNASSIGNED
    assert method.weight[heard, 9] == 0
    assert method.weight[heard].sum().item() == pytest.approx(SAMPLES - 1)
    assert (method.cluster[method.sources.index("video")] != UNASSIGNED).all()
