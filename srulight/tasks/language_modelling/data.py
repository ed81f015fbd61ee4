"""Running text, cut into tracks that are read side by side."""

from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader

from srulight.data.base import TaskData
from srulight.data.resumable_loader import ResumableLoader
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.files import lines
from srulight.tasks.language_modelling.batch import StreamBatch
from srulight.tasks.language_modelling.corpora.text_files import GrammarText, TextCorpus
from srulight.tasks.language_modelling.segments import InOrder, Segments, all_tracks, even_tracks
from srulight.tasks.language_modelling.token_ids import Recipe, TokenIds, token_ids
from srulight.text.tokens import Level, closed_vocabulary
from srulight.text.vocabulary import get_tokenizer


class LanguageModellingData(TaskData):
    """Running text, cut into tracks that are read side by side, segment after segment.

    The text is turned into token ids once; they are kept in files (in SRULIGHT_CACHE, or
    ~/.cache/srulight) that are mapped into memory, so that a text may be larger than it.

    Args:
        corpus: Where the text lies; sentences of an embedded grammar, which need no files, if
            None.
        root: Folder of the corpus's files.
        download: Download the files that are missing, if the corpus knows where they are.
        level: What a token is: word, char (a Unicode character) or byte. A line end is a token:
            ``<eos>`` among words.
        tokenizer: How lines are split into words: ``space`` for text that is split already,
            ``english``, ``characters``, or a tokenizer of torchtext.
        lowercase: Turn words into lower case.
        min_count: Times that a token must occur in training to be in the vocabulary.
        max_size: Most tokens that the vocabulary takes from training; no limit if None.
        vocabulary: File of a closed vocabulary, UTF-8, one token a line, frequent ones first; in
            place of one made from the training text.
        batch_size: Tracks that the training text is cut into, for each process.
        segment_length: Tokens of each track per step: gradients go back no further.
        eval_tracks: Tracks that validation and test text are cut into, over all processes. Each
            begins without a memory of what came before: 1 is exact, more are faster.
        eval_batch_size: Tracks of validation and test text at a time; changes no result.
        eval_segment_length: Tokens of each of these tracks at a time; changes no result of an
            encoder that remembers as far back as this.
    """

    def __init__(
        self,
        corpus: TextCorpus | None = None,
        root: str = ".",
        download: bool = False,
        level: Level = "word",
        tokenizer: str = "space",
        lowercase: bool = False,
        min_count: int = 1,
        max_size: int | None = None,
        vocabulary: str | None = None,
        batch_size: int = 32,
        segment_length: int = 35,
        eval_tracks: int = 1,
        eval_batch_size: int = 32,
        eval_segment_length: int = 512,
    ) -> None:
        super().__init__()
        check_range(
            1, batch_size=batch_size, segment_length=segment_length, eval_tracks=eval_tracks,
            eval_batch_size=eval_batch_size, eval_segment_length=eval_segment_length,
            min_count=min_count, max_size=max_size,
        )  # fmt: skip
        if level == "word":
            get_tokenizer(tokenizer)
        self.corpus = GrammarText() if corpus is None else corpus
        self.root = Path(root).expanduser()
        self.download = download
        self.level: Level = level
        self.tokenizer = tokenizer
        self.lowercase = lowercase
        self.min_count = min_count
        self.max_size = max_size
        self.vocabulary = None if vocabulary is None else Path(vocabulary).expanduser()
        self.batch_size = batch_size
        self.segment_length = segment_length
        self.eval_tracks = eval_tracks
        self.eval_batch_size = eval_batch_size
        self.eval_segment_length = eval_segment_length
        self._ids: TokenIds | None = None
        self._words: list[str] | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """What a task must know to read text as this module does.

        ``level``, ``words`` (the vocabulary, in order; empty for bytes), ``tokenizer`` and
        ``lowercase``.
        """
        if self._ids is None:
            raise RuntimeError("call setup before asking for metadata")
        return {
            "level": self.level,
            "words": self._ids.words,
            "tokenizer": self.tokenizer,
            "lowercase": self.lowercase,
        }

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        if metadata["level"] != self.level:
            raise InputError(
                f"the checkpoint is a model of {metadata['level']}s, and --data.level is "
                f"{self.level}"
            )
        # The file need not be there any more: the checkpoint has the words.
        if self.vocabulary is not None and self.vocabulary.is_file():
            _refuse_other(self._closed(self.vocabulary), metadata["words"], self.vocabulary)
        self.tokenizer = metadata["tokenizer"]
        self.lowercase = metadata["lowercase"]
        self._words = metadata["words"]

    def prepare_data(self) -> None:
        if self.download:
            self.corpus.fetch(self.root)
        self._read()  # by one process of a machine; the others then find the files

    def setup(self, stage: str | None = None) -> None:
        """Maps the token ids, once whatever the stages.

        Args:
            stage: Not used.
        """
        if self._ids is not None:
            return
        self._ids = self._read()
        for name, ids in self._ids.splits.items():
            unknown = self._ids.unknown[name]
            rank_zero_info(
                f"{name}: {len(ids):,} {self.level}s"
                + (f", {unknown / len(ids):.2%} of them <unk>" if unknown else "")
            )

    def _read(self) -> TokenIds:
        words = self._words
        if words is None and self.vocabulary is not None and self.level != "byte":
            words = self._closed(self.vocabulary)
        recipe = Recipe(
            self.level, self.tokenizer, self.lowercase, self.min_count, self.max_size, words
        )
        return token_ids(self.corpus.find(self.root), recipe)

    def _closed(self, path: Path) -> list[str]:
        tokens = []
        for number, line in lines(path, "give --data.vocabulary a file with one token a line"):
            token = line.strip() if self.level == "word" else line
            if len(token.split() if self.level == "word" else token) > 1:
                raise InputError(
                    f"{path}:{number}: expected one {self.level} a line, got {token!r}"
                )
            tokens += [token] if token else []  # a space is a character, and no word
        return closed_vocabulary(tokens, self.level).words

    def train_dataloader(self) -> DataLoader[StreamBatch]:
        ids = self._split("train")
        rank, world = self._processes()
        tracks = even_tracks(len(ids), self.batch_size * world)
        if len(tracks[0]) < self.segment_length:
            raise InputError(
                f"segment_length is {self.segment_length}, and each of {len(tracks)} tracks has "
                f"{len(tracks[0])} of the {len(ids)} {self.level}s to train on: lower "
                "--data.segment_length or --data.batch_size"
            )
        own = tracks[rank * self.batch_size : (rank + 1) * self.batch_size]
        return _loader(Segments(ids, own, self.batch_size, self.segment_length, len(own[0])))

    def val_dataloader(self) -> DataLoader[StreamBatch]:
        return self._measured("val")

    def test_dataloader(self) -> DataLoader[StreamBatch]:
        return self._measured("test")

    def _measured(self, name: str) -> DataLoader[StreamBatch]:
        ids = self._split(name)
        if len(ids) <= self.eval_tracks:
            raise InputError(
                f"eval_tracks is {self.eval_tracks}, and the {name} text has {len(ids)} "
                f"{self.level}s: it needs more of them than tracks"
            )
        rank, world = self._processes()
        tracks = all_tracks(len(ids), self.eval_tracks)
        steps = max(map(len, tracks))
        # Every process has the same number of batches: an empty track fills up.
        tracks += [range(0)] * (-len(tracks) % world)
        sizes = (self.eval_batch_size, self.eval_segment_length, steps)
        return _loader(Segments(ids, tracks[rank::world], *sizes))

    def _split(self, name: str) -> Tensor:
        if self._ids is None:
            raise RuntimeError("call setup before asking for batches")
        if name not in self._ids.splits:
            raise InputError(f"the corpus has no {name} text: set --data.corpus.{name} to a file")
        return self._ids.splits[name]

    def _processes(self) -> tuple[int, int]:
        # Before a trainer takes this module there is one process.
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _loader(segments: Segments) -> ResumableLoader[StreamBatch]:
    # Without workers: a batch is a few slices of what is mapped already.
    return ResumableLoader(segments, InOrder(len(segments)))


def _refuse_other(words: list[str], trained: list[str], path: Path) -> None:
    """Raises InputError if a file's words are not those of a checkpoint."""
    if words == trained:
        return
    pairs = zip(words, trained, strict=False)
    place = next((i for i, (new, old) in enumerate(pairs) if new != old), None)
    differs = f"{len(words)} tokens, and it has {len(trained)}"
    if place is not None:
        differs = f"{words[place]!r} as token {place}, and it has {trained[place]!r}"
    raise InputError(
        f"{path} is not the vocabulary that the checkpoint was trained with: the file has {differs}"
    )
