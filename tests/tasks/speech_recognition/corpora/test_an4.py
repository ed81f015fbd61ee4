"""AN4 pairs its file ids with its transcripts."""

from pathlib import Path

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.corpora.an4 import AN4
from srulight.tasks.speech_recognition.corpora.base import Utterance

IDS = "an4_clstk/fash/an251-fash-b\nan4_clstk/fash/an253-fash-b\n"
TEXTS = "<s> YES </s> (an251-fash-b)\n<s> GO AT </s> (an253-fash-b)\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    etc = tmp_path / "an4" / "etc"
    etc.mkdir(parents=True)
    (etc / "an4_train.fileids").write_text(IDS)
    (etc / "an4_train.transcription").write_text(TEXTS)
    (etc / "an4_test.fileids").write_text("an4test_clstk/fcaw/an406-fcaw-b\n")
    (etc / "an4_test.transcription").write_text("RUBOUT G (an406-fcaw-b)\n")
    return tmp_path


def test_transcripts_lose_their_tags_and_point_at_the_audio(root: Path) -> None:
    splits = AN4().read(root)
    wav = root / "an4" / "wav"
    train = {u.text: u for u in [*splits.train, *splits.val]}
    path = wav / "an4_clstk" / "fash" / "an251-fash-b.sph"
    assert train["YES"] == Utterance((path,), "YES", "an251-fash-b.sph", "fash")
    assert set(train) == {"YES", "GO AT"}
    assert (len(splits.train), len(splits.val)) == (1, 1)
    path = wav / "an4test_clstk" / "fcaw" / "an406-fcaw-b.sph"
    assert splits.test == [Utterance((path,), "RUBOUT G", "an406-fcaw-b.sph", "fcaw")]
    assert AN4().read(root / "an4") == splits


@pytest.mark.parametrize("ending", [".sph", ".wav", ".flac"])
def test_the_recording_that_is_there_is_taken(ending: str, root: Path) -> None:
    path = root / "an4" / "wav" / "an4test_clstk" / "fcaw" / f"an406-fcaw-b{ending}"
    path.parent.mkdir(parents=True)
    path.touch()
    assert AN4().read(root).test[0].audio == (path,)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("transcription", TEXTS.split("\n")[0], r"fileids:2: expected .* got 2 file ids and 1 tr"),
        ("fileids", IDS.split("\n")[0], r"transcription:2: expected .* got 1 file ids and 2 tr"),
        ("transcription", TEXTS.replace("an253", "an9"), r"transcription:2: .*fileids:2, .*an9-f"),
        ("transcription", TEXTS.replace("(an253-fash-b)", ""), r"transcription:2: expected <s> W"),
    ],
)
def test_what_does_not_match_is_named_with_its_place(
    name: str, text: str, message: str, root: Path
) -> None:
    (root / "an4" / "etc" / f"an4_train.{name}").write_text(text)
    with pytest.raises(InputError, match=message):
        AN4().read(root)


def test_a_file_that_is_missing_says_where_to_get_it(root: Path) -> None:
    AN4().fetch(root)
    (root / "an4" / "etc" / "an4_train.fileids").unlink()
    corpus = AN4()
    for act in (corpus.read, corpus.fetch):
        with pytest.raises(
            InputError, match=r"www.speech.cs.cmu.edu/databases/an4 and pass .*--data"
        ):
            act(root)
