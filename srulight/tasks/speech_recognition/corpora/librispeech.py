"""LibriSpeech: read English audiobooks."""

from pathlib import Path

from srulight.data.download import Source, download_tar
from srulight.runtime.errors import InputError
from srulight.runtime.files import filled_lines
from srulight.tasks.speech_recognition.corpora.base import SpeechCorpus, SpeechSplits, Utterance

_FOLDER = "LibriSpeech"
_URL = "https://www.openslr.org/resources/12/"
# Checksums of torchaudio: github.com/pytorch/audio, src/torchaudio/datasets/librispeech.py.
_CHECKSUMS = {
    "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
    "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
}
_ENDING = ".trans.txt"


class LibriSpeech(SpeechCorpus):
    """LibriSpeech, read English audiobooks at 16 kHz in FLAC (openslr.org/12).

    Reads ``LibriSpeech/PART/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt``, which has a line ``ID
    TEXT`` for each recording ``ID.flac`` in the same folder. The corpus is described in Panayotov
    et al. (2015), Librispeech: an ASR corpus based on public domain audio books, ICASSP.
    Transcripts are in upper case.

    Args:
        train: Names of the parts for training, such as ``train-clean-100``.
        val: Names of the parts for validation, such as ``dev-clean``.
        test: Names of the parts for testing, such as ``test-clean``; may be empty.

    Raises:
        InputError: If a part is named twice, or no part is named for training or validation.
    """

    def __init__(
        self,
        train: tuple[str, ...] = ("train-clean-100",),
        val: tuple[str, ...] = ("dev-clean",),
        test: tuple[str, ...] = ("test-clean",),
    ) -> None:
        self.train = train
        self.val = val
        self.test = test
        parts = self._parts
        if not train or not val:
            raise InputError(
                f"train and val must name at least one part each, got train={train} val={val}"
            )
        if twice := sorted({part for part in parts if parts.count(part) > 1}):
            raise InputError(
                f"each part must be in one split only, got {twice[0]!r} twice; remove one of them"
            )

    @property
    def _parts(self) -> list[str]:
        return [*self.train, *self.val, *self.test]

    def fetch(self, root: Path) -> None:
        missing = [part for part in self._parts if not _folder(root, part).is_dir()]
        for part in missing:
            if part not in _CHECKSUMS:
                raise InputError(
                    f"srulight can download {', '.join(_CHECKSUMS)}, got {part!r}; pass the folder "
                    "that contains it with --data.root"
                )
        for part in missing:
            source = Source(f"{_URL}{part}.tar.gz", _CHECKSUMS[part])
            download_tar(source, f"{_FOLDER}/{part}", root)

    def read(self, root: Path) -> SpeechSplits:
        splits = (self.train, self.val, self.test)
        return SpeechSplits(*([u for part in s for u in _read(root, part)] for s in splits))


def _folder(root: Path, part: str) -> Path:
    inner = root / _FOLDER / part
    return inner if inner.is_dir() else root / part


def _read(root: Path, part: str) -> list[Utterance]:
    folder = _folder(root, part)
    remedy = "pass the folder of LibriSpeech with --data.root, or set --data.download=true"
    if not folder.is_dir():
        raise InputError(
            f"{root.absolute()}: expected a folder {_FOLDER}/{part}, got none; {remedy}"
        )
    found = sorted(folder.glob(f"*/*/*{_ENDING}"))
    utterances = [u for path in found if not path.name.startswith(".") for u in _chapter(path)]
    if not utterances:
        raise InputError(
            f"{folder}: expected transcripts such as 84/121123/84-121123{_ENDING}, got none; "
            f"{remedy}"
        )
    return utterances


def _chapter(path: Path) -> list[Utterance]:
    speaker, chapter = path.parts[-3:-1]
    utterances = []
    for number, line in filled_lines(path, "download the corpus again"):
        name, _, text = line.partition(" ")
        if not name.startswith(f"{speaker}-{chapter}-"):
            raise InputError(
                f"{path}:{number}: expected {speaker}-{chapter}-NUMBER and a text, got "
                f"{line[:60]!r}"
            )
        audio = path.with_name(f"{name}.flac")
        utterances.append(Utterance((audio,), text, audio.name, speaker))
    return utterances
