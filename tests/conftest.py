"""Settings for all tests."""

import logging
import os
import sys

import pytest
import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start: their last bits are compared
if sys.platform == "linux":  # ranks are on this machine: gloo need not look its name up
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


@pytest.fixture(autouse=True)
def unspoken():
    """The package's logger as a library has it: a test of the command line before this one set
    its own lines up in this process, and `caplog` would hear nothing."""
    logger = logging.getLogger("manyviews")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # the process that prints
        config.pluginmanager.register(SaidAtOnce(config))


class SaidAtOnce:
    """One line for each failure when it comes, not only at the end: a run that is stopped early
    has then said what failed and why."""

    def __init__(self, config):
        self._config = config

    def pytest_runtest_logreport(self, report):
        if not report.failed:
            return
        crash = getattr(report.longrepr, "reprcrash", None)
        said = crash.message if crash else str(report.longrepr)
        first = next((line for line in said.splitlines() if line.strip()), "")
        printer = self._config.pluginmanager.get_plugin("terminalreporter")
        printer.ensure_newline()
        printer.write_line(
            f"{report.nodeid} ({report.when}, {report.duration:.0f} s): {first[:300]}"
        )
