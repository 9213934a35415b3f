"""Sounds as a sample for each window."""

import pickle

import numpy as np
import pytest

from manyviews.core.sample import WHOLE, Unreadable, Window
from manyviews.data.cut import Cut, Piece, starts


class Ramp:
    """A stream whose samples say their time."""

    def __init__(self, span):
        self.span = span

    def read(self, window=WHOLE):
        count = window.count or 10
        stop = min(window.stop, self.span)
        return np.linspace(window.start, stop, count, endpoint=False, dtype=np.float32)


class Ramps:
    spec, digest, streams, stack = "ramps", "abc", ("audio",), {}

    def __init__(self, *spans):
        self.spans = spans

    def __len__(self):
        return len(self.spans)

    def open(self, index):
        if self.spans[index] is None:
            raise Unreadable(self.name(index), "torn")
        return {"audio": Ramp(self.spans[index])}

    def name(self, index):
        return f"{index}.wav"


@pytest.mark.parametrize(
    ("span", "every", "wanted"),
    [
        (6.0, 2.0, [0.0, 2.0, 4.0]),
        (6.5, 2.0, [0.0, 2.0, 4.0, 4.5]),
        (5.0, 1.0, [0.0, 1.0, 2.0, 3.0]),
        (7.0, 3.0, [0.0, 3.0, 5.0]),
        (2.0, 2.0, [0.0]),
        (0.7, 2.0, [0.0]),
        (0.0, 2.0, [0.0]),
        (3 * 2.0 - 1e-9, 2.0, [0.0, 2.0, 4.0]),  # a length that was rounded
    ],
)
def test_windows_have_all_of_a_sample_and_the_last_ends_with_it(span, every, wanted):
    found = starts(span, seconds=2.0, every=every)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_windows_are_samples_of_their_own_and_say_where_they_are_from():
    cut = Cut(Ramps(5.0, 1.0, None, 2.0), seconds=2.0, every=2.0)
    assert cut.rows == [(0, 0.0, 2.0), (0, 2.0, 4.0), (0, 3.0, 5.0), (1, 0.0, 1.0), (3, 0.0, 2.0)]
    assert len(cut) == 5
    assert [cut.name(i) for i in (0, 2, 3, 4)] == ["0.wav", "0.wav", "1.wav", "3.wav"]
    assert {i: e.reason for i, e in cut.bad.items()} == {2: "torn"}
    stream = cut.open(2)["audio"]
    assert stream.span == 2.0
    np.testing.assert_allclose(stream.read(Window(0.0, 2.0, 4)), [3.0, 3.5, 4.0, 4.5])
    np.testing.assert_allclose(stream.read(Window(0.5, 1.5, 2)), [3.5, 4.0])
    np.testing.assert_allclose(Piece(Ramp(9.0), 4.0, 2.0).read()[[0, -1]], [4.0, 5.8])
    assert pickle.loads(pickle.dumps(cut)).rows == cut.rows  # workers get it
    assert (cut.spec, cut.streams, dict(cut.stack), cut.raw(0)) == ("ramps", ("audio",), {}, None)
    digests = {Cut(Ramps(5.0), seconds=s, every=e).digest for s, e in ((2, 2), (2, 1), (1, 1))}
    assert len(digests) == 3
