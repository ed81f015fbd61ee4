"""Sampling of the next token."""

import torch
from torch import Tensor

from srulight.runtime.errors import LARGEST_SEED, InputError, check_range

_COLDEST = 1e-30
"""Below this temperature, quotients overflow, and the most likely token has all probability."""


class Sampler:
    """Samples token ids from log-probabilities.

    Args:
        temperature: Number that the log-probabilities are divided by. Values below 1 favor likely
            tokens; 0 always takes the most likely one.
        top_k: Number of most likely tokens to sample from; 0 for all.
        top_p: Nucleus sampling: sample only from the most likely tokens that together have this
            probability (Holtzman et al. 2020, arXiv 1904.09751); above 0, at most 1.
        seed: Seed of the random numbers; a random seed if None.

    Raises:
        InputError: If a number is out of range.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> None:
        check_range(0, temperature=temperature, top_k=top_k)
        check_range(0, LARGEST_SEED, seed=seed)
        if not 0 < top_p <= 1:
            raise InputError(f"top_p must be above 0 and at most 1, got {top_p}")
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.generator = torch.Generator()
        if seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(seed)

    def __call__(self, log_probabilities: Tensor) -> int:
        """Samples one token id.

        Args:
            log_probabilities: Log-probability of every token in nats, (V,).
        """
        # On the CPU, so that a seed gives the same tokens for every device.
        scores = log_probabilities.float().cpu()
        if self.temperature < _COLDEST:
            return int(scores.argmax())
        scores = scores / self.temperature
        # Sorting a large vocabulary takes longer than the model, so it is avoided if possible.
        if self.top_k or self.top_p < 1:
            scores, ids = scores.topk(min(self.top_k or len(scores), len(scores)))
            probabilities = scores.softmax(0)
            # Keeps a token if those before it have less than top_p; the first is always kept.
            probabilities[probabilities.cumsum(0) - probabilities >= self.top_p] = 0
            return int(ids[probabilities.multinomial(1, generator=self.generator)])
        return int(scores.softmax(0).multinomial(1, generator=self.generator))
