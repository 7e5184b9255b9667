import os

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def all_cores():
    """Benchmarks use the whole machine, or OMP_NUM_THREADS, where the tests keep to one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    yield
    torch.set_num_threads(before)
