"""Settings of features, decoding and masks on the command line."""

from pathlib import Path

import pytest

from srulight.cli import main
from srulight.commands.training import TrainingCLI, build
from srulight.tasks.speech_recognition.ctc.settings import DecoderSettings
from srulight.tasks.speech_recognition.frontend.frontend import FeatureSettings
from srulight.tasks.speech_recognition.layers.spec_augment import SpecAugmentSettings
from srulight.text.tokenizers import Characters, Words

CONFIG = Path(__file__).parents[3] / "configs" / "speech.yaml"


def built(*options: str) -> TrainingCLI:
    quiet = ("--trainer.logger=false", "--trainer.enable_checkpointing=false")
    return build([f"--config={CONFIG}", *options, *quiet], run=False)


def test_an_option_changes_only_its_own_setting() -> None:
    cli = built(
        "--data.features.num_mels=12", "--data.features.channels=mix",
        "--model.augmentation.time_masks=3", "--model.decoder.beam_size=4",
        "--model.decoder.word_bonus=-2",
    )  # fmt: skip
    assert cli.datamodule.features == FeatureSettings(num_mels=12, channels="mix")
    # The configuration has frequency_masks and frequency_width.
    assert cli.model.augmentation == SpecAugmentSettings(1, 4, 3, 20)
    assert cli.model.decoder == DecoderSettings(beam_size=4, word_bonus=-2.0)


def test_the_tokenizer_is_a_class_with_options() -> None:
    words = built("--data.tokenizer.lowercase=false").datamodule.tokenizer
    assert isinstance(words, Words)
    assert (words.split, words.lowercase) == ("space", False)
    characters = built("--data.tokenizer=Characters", "--data.tokenizer.alphabet=ab")
    assert isinstance(characters.datamodule.tokenizer, Characters)
    assert characters.datamodule.tokenizer.alphabet == "ab"


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--data.features.num_mels=0", "num_mels must be at least 1, got 0"),
        ("--data.features.sample_rate=0", "sample_rate must be at least 1, got 0"),
        ("--data.features.frame_shift=.nan", "frame_shift must be at least 0, got nan"),
        ("--data.features.frame_length=-1", "frame_length must be at least 0, got -1"),
        ("--data.features.normalization=all", "expected one of global, utterance, none"),
        ("--data.features.bands=8", "bands"),
        ("--model.augmentation.time_share=2", "time_share must be 0 to 1, got 2"),
        ("--model.decoder.language_model=a.arpa", "a language model needs a beam_size above 1"),
        ("--model.decoder.word_bonus=1", "word_bonus needs a beam_size above 1"),
    ],
)
def test_says_what_is_wrong(option: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["fit", f"--config={CONFIG}", option])
    assert says in f"{raised.value.code}{capsys.readouterr().err}"
