"""SQuAD, and other files in its format."""

import random
from collections import Counter
from pathlib import Path

from srulight.data.download import Source, download
from srulight.runtime.errors import InputError
from srulight.tasks.question_answering.corpora.base import (
    Paragraph,
    QuestionCorpus,
    QuestionSplits,
)
from srulight.tasks.question_answering.corpora.squad_format import OnError, read_squad

_URL = "https://rajpurkar.github.io/SQuAD-explorer/dataset/"
_CHECKSUMS = {
    "train-v1.1.json": "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955",
    "dev-v1.1.json": "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9",
    "train-v2.0.json": "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002",
    "dev-v2.0.json": "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8",
}


class Squad(QuestionCorpus):
    """Reads files in the format of SQuAD 1.1 or 2.0 (Rajpurkar et al. 2016 and 2018).

    If an answer is a few characters away from its stated position, or differs from the context in
    white space only, it is corrected and counted. Questions may lack an answer if the file has the
    field ``is_impossible``. Splits are made by article, because questions about one article are
    similar.

    Args:
        train: Name of the training file inside ``root``.
        val: Name of the validation file inside ``root``. None holds out articles of the training
            file.
        test: Name of the test file inside ``root``. None holds out articles of the training file if
            test_fraction is above 0, and otherwise means that there is no test set.
        val_fraction: Share of the training articles to hold out for validation if val is None,
            above 0 and below 1.
        test_fraction: Share of the training articles to hold out for testing if test is None, at
            least 0 and below 1.
        on_error: What to do with an answer that is not in its context, a question that has no
            answer, or a context without words: "refuse" stops with an error, "skip" skips and
            counts them.
        seed: Seed for the choice of the held-out articles.

    Raises:
        InputError: If a fraction is out of range, or both test and test_fraction are given.
    """

    def __init__(
        self,
        train: str = "train-v1.1.json",
        val: str | None = None,
        test: str | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.0,
        on_error: OnError = "skip",
        seed: int = 1,
    ) -> None:
        if val is None and not 0 < val_fraction < 1:
            raise InputError(
                f"val_fraction must be above 0 and below 1, got {val_fraction}; set it, or set val "
                "to a file"
            )
        if not 0 <= test_fraction < 1 or (val is None and val_fraction + test_fraction >= 1):
            raise InputError(
                "val_fraction and test_fraction must be at least 0 and leave articles to train on, "
                f"got {val_fraction} and {test_fraction}; lower them"
            )
        if test is not None and test_fraction:
            raise InputError(
                f"test_fraction must be 0 if test is a file ({test!r}), got {test_fraction}; "
                "remove one of them"
            )
        self.train = train
        self.val = val
        self.test = test
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.on_error: OnError = on_error
        self.seed = seed

    def fetch(self, root: Path) -> None:
        for name in (self.train, self.val, self.test):
            if name is None or (root / name).exists():
                continue
            if name not in _CHECKSUMS:
                raise InputError(
                    f"{name} cannot be downloaded, only {', '.join(_CHECKSUMS)} can; set "
                    "--data.root to the folder that has it"
                )
            download(Source(_URL + name, _CHECKSUMS[name]), root / name)

    def read(self, root: Path) -> QuestionSplits:
        corrected: Counter[str] = Counter()

        def file(name: str) -> list[Paragraph]:
            paragraphs, counts = read_squad(root / name, self.on_error)
            corrected.update(counts)
            if not paragraphs:
                raise InputError(f"{root / name}: expected questions, got none that can be used")
            return paragraphs

        train = file(self.train)
        parts = self._split(train, root / self.train)
        val = parts["val"] if self.val is None else file(self.val)
        test = parts["test"] or None if self.test is None else file(self.test)
        self._refuse_shared({"train": parts["train"], "val": val, "test": test or []})
        return QuestionSplits(parts["train"], val, test, dict(corrected))

    def _refuse_shared(self, parts: dict[str, list[Paragraph]]) -> None:
        """Raises InputError if two splits share a question."""
        found: dict[str, str] = {}
        for name, paragraphs in parts.items():
            for id in (question.id for paragraph in paragraphs for question in paragraph.questions):
                if id in found:
                    file = getattr(self, name) or self.train
                    raise InputError(
                        f"{file}: expected each question in one split, got {id} in {found[id]} and "
                        f"{name}; set --data.corpus.{name} to another file, or to null to split "
                        "one file by article"
                    )
                found[id] = name

    def _split(self, paragraphs: list[Paragraph], path: Path) -> dict[str, list[Paragraph]]:
        articles = sorted({paragraph.article for paragraph in paragraphs})
        random.Random(self.seed).shuffle(articles)
        counts = {
            "val": 0 if self.val is not None else self.val_fraction,
            "test": self.test_fraction,
        }
        part: dict[str, str] = {}
        for name, share in counts.items():
            count = max(1, round(share * len(articles))) if share else 0
            part.update(dict.fromkeys(articles[len(part) : len(part) + count], name))
        if len(part) >= len(articles):
            raise InputError(
                f"{path}: expected {len(part) + 1} or more articles to split, got {len(articles)}; "
                "set val and test to files"
            )
        found: dict[str, list[Paragraph]] = {"train": [], "val": [], "test": []}
        for paragraph in paragraphs:
            found[part.get(paragraph.article, "train")].append(paragraph)
        return found
