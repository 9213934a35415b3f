"""Batches are sent one ahead on a GPU, and are the same in the same order everywhere."""

import contextlib

import pytest
import torch

from manyviews.data.to_device import ahead

CPU = torch.device("cpu")


def test_on_a_processor_nothing_is_done_ahead():
    asked = []

    def raws():
        for i in range(3):
            asked.append(i)
            yield i

    found = ahead(raws(), lambda i: i * 10, tensors=lambda sent: [], device=CPU)
    for i in range(3):
        assert next(found) == 10 * i
        assert asked == list(range(i + 1))
    with pytest.raises(StopIteration):
        next(found)


class Fake:
    """torch.cuda, writing down what is asked of it."""

    def __init__(self, said):
        self.said = said
        self.events = 0

    def Stream(self, device):  # noqa: N802
        del device
        return "side"

    @contextlib.contextmanager
    def stream(self, which):
        self.said.append(f"on {which}")
        yield
        self.said.append(f"off {which}")

    def Event(self):  # noqa: N802
        number = self.events
        self.events += 1
        said = self.said

        class Event:
            def record(self, stream):
                said.append(f"record {number} on {stream}")

            def __repr__(self):
                return f"event {number}"

        return Event()

    def current_stream(self, device):
        del device
        said = self.said

        class Main:
            def wait_event(self, event):
                said.append(f"main waits for {event}")

            def __repr__(self):
                return "main"

        return Main()


class Sent:
    def __init__(self, number, said):
        self.number = number
        self.said = said

    def record_stream(self, stream):
        self.said.append(f"{self.number} used on {stream}")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_on_a_gpu_the_next_is_sent_before_the_last_is_used(monkeypatch, count):
    said = []
    monkeypatch.setattr(torch, "cuda", Fake(said))

    def send(number):
        said.append(f"send {number}")
        return Sent(number, said)

    found = ahead(range(count), send, tensors=lambda sent: [sent], device=torch.device("cuda"))
    for i, sent in enumerate(found):
        assert sent.number == i
        said.append(f"train {i}")
    wanted = []
    for i in range(count + 1):
        if i < count:
            wanted += ["on side", f"send {i}", "off side", f"record {i} on side"]
        if i > 0:
            wanted += [f"main waits for event {i - 1}", f"{i - 1} used on main", f"train {i - 1}"]
    assert said == wanted
