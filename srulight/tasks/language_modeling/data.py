"""The data module of language modeling."""

from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import BatchSampler, SequentialSampler

from srulight.data.base import Split, TaskData
from srulight.data.resumable_loader import ResumableLoader
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.language_modeling.batch import StreamBatch
from srulight.tasks.language_modeling.corpora.base import TextCorpus
from srulight.tasks.language_modeling.corpora.grammar_text import GrammarText
from srulight.tasks.language_modeling.segments import Segments, all_tracks, even_tracks
from srulight.tasks.language_modeling.token_ids import TokenIds, fit, stored_tokenizer, token_ids
from srulight.text.tokenizers import Tokenizer, Words


@dataclass(frozen=True)
class EvaluationSettings:
    """How to read the validation and test text.

    Args:
        tracks: Number of contiguous parts (tracks) that the text is divided into, over all
            processes. Each track starts with an empty state. 1 is exact; more tracks are faster.
        batch_size: Maximum number of tracks per batch on each process; does not affect the result.
        segment_length: Number of tokens per track in each batch; does not affect the result,
            because the state of the encoder carries over to the next batch.
    """

    tracks: int = 1
    batch_size: int = 32
    segment_length: int = 512

    def __post_init__(self) -> None:
        check_range(1, **asdict(self))


class LanguageModelingData(TaskData):
    """Running text, divided into contiguous tracks that are read in parallel, by segments.

    The text is converted to token ids once. The ids are cached in files (in SRULIGHT_CACHE, or
    ~/.cache/srulight) that are mapped into memory, so that the text may be larger than the memory.

    The metadata contain ``tokenizer`` (settings of the tokenizer).

    Args:
        corpus: Corpus that provides the text; if None, sentences of an embedded grammar, which need
            no files.
        root: Folder that contains the files of the corpus.
        download: Whether to download missing files, for corpora that support it.
        tokenizer: Splits text into words (``Words``), characters (``Characters``), bytes
            (``Bytes``) or subwords (``SentencePiece``); words between spaces if None. The end of a
            line is a token.
        batch_size: Number of tracks of the training text on each process.
        segment_length: Number of tokens per track in each batch. Gradients do not flow back beyond
            a segment.
        evaluation: How to read the validation and test text.
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
                f"--data.tokenizer must be {type(trained).__name__} as in the checkpoint, got "
                f"{type(own).__name__}; remove the option"
            )
        # The file may have been deleted, because the checkpoint contains the vocabulary.
        if own.is_closed and (own.file is None or Path(own.file).expanduser().is_file()):
            _refuse_other(fit(own), trained)
        super().load_metadata(metadata)

    def prepare(self) -> None:
        if self._ids is None:
            self._read()

    def setup(self, stage: str | None = None) -> None:
        """Maps the token ids into memory; does nothing if that has been done already.

        Args:
            stage: Not used.

        Raises:
            InputError: If the text cannot be read.
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
                + (f", {unknown / len(ids):.2%} out-of-vocabulary (<unk>)" if unknown else "")
            )

    def _read(self) -> TokenIds:
        given = self._metadata
        tokenizer = stored_tokenizer(given["tokenizer"]) if given else self.tokenizer
        return token_ids(self.corpus.read(self.root), tokenizer)

    def loader(self, split: Split) -> ResumableLoader[StreamBatch]:
        if self._ids is None:
            raise RuntimeError("the data module is not set up; call setup() before loader()")
        if split not in self._ids.splits:
            raise InputError(f"the corpus has no {split} text; set --data.corpus.{split}=FILE")
        ids, units = self._ids.splits[split], f"{self._ids.tokenizer.unit}s"
        segments = (
            self._training_segments(ids, units)
            if split == "train"
            else self._evaluation_segments(ids, units, split)
        )
        # No workers, because a batch is only a few slices of mapped memory.
        return ResumableLoader(segments, BatchSampler(SequentialSampler(segments), 1, False))

    def sample(self, split: Split, size: int) -> StreamBatch:
        """Makes a batch of the first segment of tracks.

        Args:
            split: "train", "val" or "test".
            size: Number of tracks.
        """
        assert self._ids is not None
        ids = self._ids.splits[split]
        tracks = all_tracks(len(ids), size)
        steps = min(self.segment_length, len(tracks[0]))
        return Segments(ids, tracks, size, steps, steps).__getitems__([0])[0]

    def _training_segments(self, ids: Tensor, units: str) -> Segments:
        rank, world = self.processes
        tracks = even_tracks(len(ids), self.batch_size * world)
        if len(tracks[0]) < self.segment_length:
            raise InputError(
                f"segment_length must be at most {len(tracks[0])}, because the {len(ids)} training "
                f"{units} are divided into {len(tracks)} tracks, got {self.segment_length}; lower "
                "--data.segment_length or --data.batch_size"
            )
        own = tracks[rank * self.batch_size : (rank + 1) * self.batch_size]
        return Segments(ids, own, self.batch_size, self.segment_length, len(own[0]))

    def _evaluation_segments(self, ids: Tensor, units: str, split: str) -> Segments:
        count, batch_size, segment_length = astuple(self.evaluation)
        if len(ids) <= count:
            raise InputError(
                f"evaluation.tracks must be below {len(ids)}, the number of {units} in the {split} "
                f"text, got {count}; lower --data.evaluation.tracks"
            )
        rank, world = self.processes
        tracks = all_tracks(len(ids), count)
        steps = max(map(len, tracks))
        # Empty tracks make the number of batches equal on all processes.
        tracks += [range(0)] * (-len(tracks) % world)
        return Segments(ids, tracks[rank::world], batch_size, segment_length, steps)


def _refuse_other(own: Tokenizer, trained: Tokenizer) -> None:
    """Raises InputError if the vocabulary from an option differs from that of the checkpoint."""
    if own.vocabulary == trained.vocabulary:
        return
    for i, (name, other) in enumerate(zip(own.tokens, trained.tokens, strict=False)):
        if name != other:
            differs = f"{other!r} as token {i}, got {name!r}"
            break
    else:
        differs = f"{len(trained.tokens)} tokens, got {len(own.tokens)}"
    option = "alphabet" if own.file is None else "file"
    raise InputError(
        f"{own.file or '--data.tokenizer.alphabet'}: expected the vocabulary of the checkpoint "
        f"with {differs}; remove --data.tokenizer.{option}"
    )
