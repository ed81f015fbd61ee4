"""Running text, cut into tracks that are read side by side."""

from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import BatchSampler, SequentialSampler

from srulight.data.base import Split, TaskData
from srulight.data.resumable_loader import ResumableLoader
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.language_modelling.batch import StreamBatch
from srulight.tasks.language_modelling.corpora.base import TextCorpus
from srulight.tasks.language_modelling.corpora.grammar_text import GrammarText
from srulight.tasks.language_modelling.segments import Segments, all_tracks, even_tracks
from srulight.tasks.language_modelling.token_ids import TokenIds, fit, stored_tokenizer, token_ids
from srulight.text.tokenizers import Tokenizer, Words


@dataclass(frozen=True)
class EvaluationSettings:
    """How validation and test text is read.

    Args:
        tracks: Tracks that the text is cut into, over all processes. Each begins without a memory
            of what came before: 1 is exact, more are faster.
        batch_size: Tracks at a time; changes no result.
        segment_length: Tokens of each track at a time; changes no result of an encoder that
            remembers as far back as this.
    """

    tracks: int = 1
    batch_size: int = 32
    segment_length: int = 512

    def __post_init__(self) -> None:
        check_range(1, **asdict(self))


class LanguageModellingData(TaskData):
    """Running text, cut into tracks that are read side by side, segment after segment.

    Its metadata: ``tokenizer`` (its settings).

    The text is turned into token ids once; they are kept in files (in SRULIGHT_CACHE, or
    ~/.cache/srulight) that are mapped into memory, so that a text may be larger than it.

    Args:
        corpus: Where the text lies; sentences of an embedded grammar, which need no files, if
            None.
        root: Folder of the corpus's files.
        download: Download the files that are missing, if the corpus knows where they are.
        tokenizer: What a token is: a word (``Words``), a character (``Characters``), a byte
            (``Bytes``) or a piece of a word (``SentencePiece``); words between spaces, for text
            that is split already, if None. A line end is a token.
        batch_size: Tracks that the training text is cut into, for each process.
        segment_length: Tokens of each track per step: gradients go back no further.
        evaluation: How validation and test text is read.
    """

    def __init__(
        self,
        corpus: TextCorpus | None = None,
        root: str = ".",
        download: bool = False,
        tokenizer: Tokenizer | None = None,
        batch_size: int = 32,
        segment_length: int = 35,
        evaluation: EvaluationSettings = EvaluationSettings(),
    ) -> None:
        super().__init__(corpus or GrammarText(), root, download)
        check_range(1, batch_size=batch_size, segment_length=segment_length)
        self.tokenizer: Tokenizer = tokenizer or Words("space")
        self.batch_size = batch_size
        self.segment_length = segment_length
        self.evaluation = evaluation
        self._ids: TokenIds | None = None

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        trained, own = stored_tokenizer(metadata["tokenizer"]), self.tokenizer
        if type(trained) is not type(own):
            raise InputError(
                f"the checkpoint is a model of {trained.unit}s, and --data.tokenizer is "
                f"{type(own).__name__}"
            )
        # The file need not be there any more: the checkpoint has the vocabulary.
        if own.is_closed and (own.file is None or Path(own.file).expanduser().is_file()):
            _refuse_other(fit(own), trained)
        super().load_metadata(metadata)

    def prepare(self) -> None:
        if self._ids is None:
            self._read()

    def setup(self, stage: str | None = None) -> None:
        """Maps the token ids, once whatever the stages.

        Args:
            stage: Not used.
        """
        if self._ids is not None:
            return
        self._ids = self._read()
        tokenizer = self._ids.tokenizer
        self._metadata = {"tokenizer": tokenizer.settings}
        for name, ids in self._ids.splits.items():
            unknown = self._ids.unknown[name]
            rank_zero_info(
                f"{name}: {len(ids):,} {tokenizer.unit}s"
                + (f", {unknown / len(ids):.2%} of them <unk>" if unknown else "")
            )

    def _read(self) -> TokenIds:
        given = self._metadata
        tokenizer = stored_tokenizer(given["tokenizer"]) if given else self.tokenizer
        return token_ids(self.corpus.read(self.root), tokenizer)

    def loader(self, split: Split) -> ResumableLoader[StreamBatch]:
        if self._ids is None:
            raise RuntimeError("call setup before asking for batches")
        if split not in self._ids.splits:
            raise InputError(f"the corpus has no {split} text: set --data.corpus.{split} to a file")
        ids, units = self._ids.splits[split], f"{self._ids.tokenizer.unit}s"
        segments = (
            self._training_segments(ids, units)
            if split == "train"
            else self._evaluation_segments(ids, units, split)
        )
        # Without workers: a batch is a few slices of what is mapped already.
        return ResumableLoader(segments, BatchSampler(SequentialSampler(segments), 1, False))

    def _training_segments(self, ids: Tensor, units: str) -> Segments:
        rank, world = self.processes
        tracks = even_tracks(len(ids), self.batch_size * world)
        if len(tracks[0]) < self.segment_length:
            raise InputError(
                f"segment_length is {self.segment_length}, and each of {len(tracks)} tracks has "
                f"{len(tracks[0])} of the {len(ids)} {units} to train on: lower "
                "--data.segment_length or --data.batch_size"
            )
        own = tracks[rank * self.batch_size : (rank + 1) * self.batch_size]
        return Segments(ids, own, self.batch_size, self.segment_length, len(own[0]))

    def _evaluation_segments(self, ids: Tensor, units: str, split: str) -> Segments:
        count, batch_size, segment_length = astuple(self.evaluation)
        if len(ids) <= count:
            raise InputError(
                f"evaluation.tracks is {count}, and the {split} text has {len(ids)} {units}: it "
                "needs more of them than tracks"
            )
        rank, world = self.processes
        tracks = all_tracks(len(ids), count)
        steps = max(map(len, tracks))
        # Every process has the same number of batches: an empty track fills up.
        tracks += [range(0)] * (-len(tracks) % world)
        return Segments(ids, tracks[rank::world], batch_size, segment_length, steps)


def _refuse_other(own: Tokenizer, trained: Tokenizer) -> None:
    """Raises InputError if a vocabulary that an option gives is not that of a checkpoint."""
    if own.vocabulary == trained.vocabulary:
        return
    for i, (name, other) in enumerate(zip(own.tokens, trained.tokens, strict=False)):
        if name != other:
            differs = f"{name!r} as token {i}, and the checkpoint {other!r}"
            break
    else:
        differs = f"{len(own.tokens)} tokens, and the checkpoint {len(trained.tokens)}"
    raise InputError(
        f"{own.file or '--data.tokenizer.alphabet'} is not the vocabulary that the checkpoint was "
        f"trained with: it has {differs}"
    )
