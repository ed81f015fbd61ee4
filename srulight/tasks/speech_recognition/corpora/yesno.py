"""The yesno corpus: one speaker says "yes" or "no" eight times in each recording."""

import re
from pathlib import Path

from srulight.data.download import Source, download_tar
from srulight.data.hold_out import hold_out
from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.corpora.base import SpeechCorpus, SpeechSplits, Utterance

_FOLDER = "waves_yesno"
# Checksum of torchaudio: github.com/pytorch/audio, src/torchaudio/datasets/yesno.py.
_SOURCE = Source(
    "https://www.openslr.org/resources/1/waves_yesno.tar.gz",
    "c3f49e0cca421f96b75b41640749167b52118f232498667ca7a5f9416aef8e73",
)
_NAME = re.compile(r"[01](_[01]){7}\.wav")
_REMEDY = "pass the folder of the corpus with --data.root, or set --data.download=true"


class YesNo(SpeechCorpus):
    """The yesno corpus: 60 recordings of 8 words in Hebrew at 8 kHz (openslr.org/1).

    Reads ``waves_yesno/*.wav``. The name of a file is its transcript, with 1 for yes and 0 for no,
    such as ``0_0_1_0_1_1_1_1.wav``. The 31 recordings that start with 0 are for training, except a
    fixed tenth that is held out for validation. The 29 that start with 1 are for testing.
    """

    def fetch(self, root: Path) -> None:
        if not any(_folder(root).glob("*.wav")):
            download_tar(_SOURCE, _FOLDER, root)

    def read(self, root: Path) -> SpeechSplits:
        folder = _folder(root)
        spoken = []
        for path in sorted(folder.glob("*.wav")):
            if path.name.startswith("."):
                continue
            if not _NAME.fullmatch(path.name):
                raise InputError(
                    f"{path}: expected a name such as 0_0_1_0_1_1_1_1.wav; rename or remove the "
                    "file"
                )
            words = ["yes" if digit == "1" else "no" for digit in path.stem.split("_")]
            spoken.append(Utterance((path,), " ".join(words), path.name))
        if not spoken:
            raise InputError(
                f"{folder}: expected recordings such as 0_0_1_0_1_1_1_1.wav, got none; {_REMEDY}"
            )
        train, val = hold_out([u for u in spoken if u.where.startswith("0")])
        return SpeechSplits(train, val, [u for u in spoken if u.where.startswith("1")])


def _folder(root: Path) -> Path:
    inner = root / _FOLDER
    return inner if inner.is_dir() else root
