"""The memory of layers that a benchmark measures."""

from tests.documents import ROOT
from tests.python import python

GROWN = """
import sys; sys.path.append("benchmarks")
import peak_memory
from srulight.bench.cases import Case
print(peak_memory.grown("SRU", Case("training", 4096, 256, 1)))
"""


def test_the_peak_memory_of_training_grows_with_what_it_saves() -> None:
    done = python("-c", GROWN, cwd=ROOT)  # the peak of this process is that of all tests before
    # Its input's gradient, three gates, their gradients and more, of 4 MB each.
    assert float(done.stdout) > 20, done.stderr
