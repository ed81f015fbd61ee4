"""Drawing the next token."""

import torch
from torch import Tensor

from srulight.runtime.errors import LARGEST_SEED, InputError, check_range


class Sampler:
    """Draws token ids from log-probabilities.

    Args:
        temperature: Divides log-probabilities: below 1 keeps to what is likely; 0 always takes the
            likeliest.
        top_k: Tokens to choose among, the likeliest; 0 for all.
        top_p: Probability, above 0 to 1, that the tokens to choose among have together; the
            likeliest are taken until they have it (Holtzman et al. 2020, arXiv 1904.09751).
        seed: Number that decides what is drawn; drawn itself if None.

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
        """Draws one token.

        Args:
            log_probabilities: Of every token in nats, (V,).
        """
        # On the host, so that a seed draws the same tokens for every device.
        scores = log_probabilities.float().cpu()
        if self.temperature == 0:
            return int(scores.argmax())
        scores = scores / self.temperature
        # Sorting a large vocabulary for nothing would take longer than the model.
        if self.top_k or self.top_p < 1:
            scores, ids = scores.topk(min(self.top_k or len(scores), len(scores)))
            probabilities = scores.softmax(0)
            # A token stays if those before it do not have the probability yet: the first always.
            probabilities[probabilities.cumsum(0) - probabilities >= self.top_p] = 0
            return int(ids[probabilities.multinomial(1, generator=self.generator)])
        return int(scores.softmax(0).multinomial(1, generator=self.generator))
