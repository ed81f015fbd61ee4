"""The code that benchmarks share: comparisons of training runs, and the memory of layers."""

import peak_memory

from srulight.bench.cases import Case


def test_the_peak_memory_of_training_grows_with_what_it_saves() -> None:
    # Its input's gradient, three gates, their gradients and more, of 4 MB each.
    assert peak_memory.grown("SRU", Case("training", 4096, 256, 1)) > 20
