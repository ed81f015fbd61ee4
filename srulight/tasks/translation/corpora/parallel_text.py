"""A parallel corpus in files of text, as Multi30k, IWSLT and WMT have them."""

from pathlib import Path

from srulight.runtime.errors import InputError
from srulight.tasks.translation.corpora.base import FilePairs, ParallelCorpus, ParallelSplits


class ParallelText(ParallelCorpus):
    r"""Sentences in one file and their translations in another, UTF-8.

    A stem ``train`` and a language ``en`` name the first of these files that is there:
    ``train.en``, ``train.en.gz`` (one sentence a line), ``train.en.xml`` (IWSLT's development and
    test sets), and ``train-src.en.sgm`` or ``train-src.en.sgm.gz`` (WMT's test sets), with ``-ref``
    for the target. Of the last three, the sentences are what is between ``<seg>`` and ``</seg>``.
    A stem like ``train.tags.de-en`` (IWSLT's training talks) has lines of markup, which are left
    out. A sentence may be empty. Lines end with ``\n`` or ``\r\n``, and white space becomes single
    spaces.

    Args:
        source: Language to translate from, as it is in the names of the files.
        target: Language to translate to.
        train: Stems of the training files, inside ``root``, read one after the other; ``train``
            alone if None.
        val: Stem of the validation files.
        test: Stem of the test files; if None, there is nothing to test on.

    Raises:
        InputError: If the languages are the same, or ``train`` is an empty list.
    """

    def __init__(
        self,
        source: str = "en",
        target: str = "de",
        train: list[str] | None = None,
        val: str = "val",
        test: str | None = None,
    ) -> None:
        if source == target:
            raise InputError(f"source and target must be two languages, got {source!r} twice")
        if train is not None and not train:
            raise InputError("train must name the stem of a file or more, got an empty list")
        self.languages = (source, target)
        self.train = ["train"] if train is None else train
        self.val = val
        self.test = test

    def fetch(self, root: Path) -> None:
        try:
            self.read(root)
        except InputError as error:
            raise InputError(f"parallel text cannot be downloaded from here; {error}") from error

    def read(self, root: Path) -> ParallelSplits:
        train, val = self._pairs(root, self.train), self._pairs(root, [self.val])
        test = None if self.test is None else self._pairs(root, [self.test])
        return ParallelSplits(train, val, test)

    def _pairs(self, root: Path, stems: list[str]) -> FilePairs:
        sides = tuple(zip(self.languages, ("src", "ref"), strict=True))
        names = [tuple(_find(root, stem, *side) for side in sides) for stem in stems]
        return FilePairs(root, [(source, target) for source, target in names])


def _find(root: Path, stem: str, language: str, side: str) -> str:
    plain, sgml = f"{stem}.{language}", f"{stem}-{side}.{language}.sgm"
    names = [plain, f"{plain}.gz", f"{plain}.xml", sgml, f"{sgml}.gz"]
    for name in names:
        if (root / name).is_file():
            return name
    raise InputError(
        f"none of {', '.join(names)} is in {root.absolute()}; put one there, or set --data.root "
        "to the folder that has it"
    )
