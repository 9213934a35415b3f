"""Settings for all tests."""

import logging
import os

import pytest
import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start: their last bits are compared


@pytest.fixture(autouse=True)
def unspoken():
    """The package's logger as a library has it: a test of the command line before this one set
    its own lines up in this process, and `caplog` would hear nothing."""
    logger = logging.getLogger("manyviews")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
