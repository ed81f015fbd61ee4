"""Batches of sentences and their translations."""

from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

from srulight.data.base import IGNORED, BatchDataset
from srulight.tasks.translation.batch import TranslationBatch
from srulight.tasks.translation.token_pairs import TokenPairs
from srulight.text.line_tokenizers import BEGIN, END

_BEGIN, _END = torch.tensor([BEGIN]), torch.tensor([END])


class TranslationDataset(BatchDataset[TranslationBatch]):
    """Sentence pairs, a batch at a time.

    Args:
        pairs: Their token ids.
        texts: Their texts, or None for those that need not be translated to be measured; empty if
            none need be.

    Attributes:
        lengths: Tokens of each pair, (N,) int64.
    """

    def __init__(self, pairs: TokenPairs, texts: Sequence[tuple[str, str] | None]) -> None:
        self._pairs = pairs
        self._texts = texts
        self.lengths = pairs.lengths()

    def __len__(self) -> int:
        """Counts the pairs."""
        return len(self.lengths)

    def __getitems__(self, indices: list[int]) -> list[TranslationBatch]:
        """Makes a whole batch, the only item: a loader asks for one this way if it can.

        Args:
            indices: Pairs of the batch. Without any it is an empty sentence with nothing to learn,
                so that a process that has no pairs at a step goes along with the others.
        """
        none = torch.zeros(0, dtype=torch.long)
        pairs = [self._pairs.get(i) for i in indices] or [(none, none)]
        sources = [torch.cat((source, _END)) for source, _ in pairs]
        targets = [torch.cat((_BEGIN, target)) for _, target in pairs]
        labels = [torch.cat((target, _END)) for _, target in pairs]
        if not indices:
            labels = [torch.full_like(labels[0], IGNORED)]
        return [
            TranslationBatch(
                pad_sequence(sources, batch_first=True),
                torch.tensor([len(source) for source in sources]),
                pad_sequence(targets, batch_first=True),
                pad_sequence(labels, batch_first=True, padding_value=IGNORED),
                [self._texts[i] for i in indices] if self._texts else [],
                int(self.lengths[indices].sum()) if indices else 0,
            )
        ]
