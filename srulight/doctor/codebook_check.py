"""Checks that products by indices into codebooks are exact."""

import torch

from srulight.doctor.self_check import Outcome
from srulight.ops import codebook

_SIZES = ((1, 64, 5, 5), (2, 70, 12, 3), (3, 129, 7, 1), (6, 4200, 4, 2))
_SEED = 20170206


def check_codebooks(device: str, outcome: Outcome | None = None) -> Outcome:
    """Compares products by 4-bit indices with integers of 64 bits. Any difference is wrong.

    Args:
        device: Device to compute on, such as cpu or cuda.
        outcome: What to add the comparisons to; None for a new outcome.
    """
    outcome = Outcome() if outcome is None else outcome
    generator = torch.Generator().manual_seed(_SEED)
    for rows, features, outputs, codebooks in _SIZES:
        for bits in (4, 8, 16):
            fraction, integer = 2, 1 << (bits - 1)
            # Half of the activations overflow.
            q = torch.randint(-2 * integer, 2 * integer, (rows, features), generator=generator)
            indices = torch.randint(0, 16, (outputs, features), generator=generator)
            table = torch.randint(-127, 128, (codebooks, 16), generator=generator)
            scale = torch.rand(outputs, generator=generator)
            group = torch.arange(outputs) * codebooks // outputs
            values = table[group.unsqueeze(1), indices]
            sums = q.clamp(-integer, integer - 1) @ values.t()
            wanted = sums.float() * (scale / 4)
            given = (q / 4, codebook.pack(indices), table.to(torch.int8), scale)
            x, packed, tables, scales = (tensor.to(device) for tensor in given)
            got = codebook.codebook_linear(x, packed, tables, scales, fraction, bits).cpu()
            wrong = 0.0 if torch.equal(got, wanted) else float("inf")
            case = f"{bits} bits, M={rows} F={features} N={outputs} G={codebooks}"
            difference = float((got - wanted).abs().max())
            outcome.add("the product by 4-bit indices", case, wrong, difference)
            outcome.count("4-bit products")
    return outcome
