"""Every configuration in configs/ builds, and the command line can override it."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.accelerators import CPUAccelerator, MPSAccelerator

from srulight.commands.defaults import accelerator
from srulight.commands.training import TrainingCLI, build
from srulight.encoders import CNN, LSTM, SRU, ConvLSTM, ConvSRU, Encoder, SRUpp
from srulight.tasks.language_modeling.token_ids import specials_of
from srulight.tasks.pose_estimation import PoseEstimation
from srulight.tasks.pose_estimation.heads import HeadSizes
from srulight.tasks.translation.batch import SPECIALS
from srulight.tasks.translation.task import Translation
from srulight.text.tokenizers import Words

FOLDER = Path(__file__).parents[1] / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
PRESETS = sorted((FOLDER / "encoders").glob("*.yaml"))
TRANSLATORS = sorted((FOLDER / "translators").glob("*.yaml"))
QUIET = ["--trainer.logger=false", "--trainer.enable_checkpointing=false"]


def built(*args: str) -> TrainingCLI:
    return build([*args, *QUIET], run=False)


def encoder(cli: TrainingCLI) -> Encoder:
    factory = cli.model.encoder_factory
    assert callable(factory)
    return factory(300)


def pose_encoder(cli: TrainingCLI) -> object:
    assert isinstance(cli.model, PoseEstimation)
    return cli.model.head_factory(HeadSizes(8, 3, 16, 16, 4)).encoder


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_builds(path: Path) -> None:
    assert path.read_text().startswith("# ")
    cli = built(f"--config={path}")
    cls = SRUpp if path.stem == "wikitext103" else SRU
    with torch.device("meta"):
        if isinstance(cli.model, Translation):
            translator = cli.model.translator_factory(cli.model.embedding_size)
            assert any(isinstance(module, cls) for module in translator.modules())
        elif isinstance(cli.model, PoseEstimation):
            # Single images have no order that an encoder could follow.
            made = pose_encoder(cli)
            assert made is None if path.stem == "mouse_points" else isinstance(made, ConvSRU)
        else:
            assert isinstance(encoder(cli), cls)


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.stem)
def test_a_preset_takes_the_place_of_the_encoder(path: Path) -> None:
    with torch.device("meta"):
        made = encoder(built(f"--config={FOLDER / 'sst.yaml'}", f"--model.encoder={path}"))
    first = path.stem.split("_")[0]
    named = {"bag": "cnn", "residual": "residualcnn"}.get(first, first)
    assert type(made).__name__.lower() == named


def test_encoder_by_short_name() -> None:
    cli = built(
        f"--config={FOLDER / 'sst.yaml'}", "--model.encoder=LSTM", "--model.encoder.num_layers=3"
    )
    made = encoder(cli)
    assert isinstance(made, LSTM)
    assert made.rnn.num_layers == 3


def test_encoder_of_maps_by_short_name() -> None:
    config = f"--config={FOLDER / 'pose.yaml'}"
    size = "--model.head.encoder.hidden_size=7"
    assert isinstance(pose_encoder(built(config, "--model.head.encoder=ConvLSTM", size)), ConvLSTM)
    assert pose_encoder(built(config, "--model.head.encoder=null")) is None
    regression = "--model.head=RegressionHead"
    made = pose_encoder(built(config, regression, "--model.head.encoder=LSTM", size))
    assert isinstance(made, LSTM)
    assert made.output_size == 7
    with pytest.raises(SystemExit):
        built(config, "--model.head.encoder=LSTM")  # it does not encode maps


def test_encoder_by_import_path() -> None:
    cli = built(f"--config={FOLDER / 'sst.yaml'}", "--model.encoder=srulight.encoders.CNN")
    assert isinstance(encoder(cli), CNN)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_a_gpu_is_used_where_there_is_one(path: Path) -> None:
    assert "accelerator" not in path.read_text()


def test_apples_gpus_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_TRAINER_ACCELERATOR")
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    assert accelerator("auto") == "cpu"
    assert accelerator("mps") == "mps"  # who asks for it gets it
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: False)
    assert accelerator("auto") == "auto"
    monkeypatch.setenv("PL_TRAINER_ACCELERATOR", "cuda")
    assert accelerator("auto") == "cuda"
    assert accelerator("cpu") == "cpu"
    monkeypatch.setattr("srulight.commands.training.accelerator", {"cuda": "cpu"}.get)
    cli = built(f"--config={FOLDER / 'quickstart.yaml'}", "--trainer.accelerator=cuda")
    assert isinstance(cli.trainer.accelerator, CPUAccelerator)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("questions", "unanswerable=0.3"),
        ("quickstart", "train_size=10"),
        ("language_model", "train_size=10"),
        ("translation", "train_size=10"),
        ("speech", "train_size=10"),
        ("sequences", "train_size=10"),
        ("video", "train_size=10"),
        ("pose", "train_size=10"),
    ],
)
def test_options_of_the_corpus_need_no_class(name: str, option: str) -> None:
    built(f"--config={FOLDER / name}.yaml", f"--data.corpus.{option}")


def test_the_settings_of_the_paper() -> None:
    for name in ("sst", "sst_fine", "trec", "mr", "subj", "cr", "mpqa"):
        cli = built(f"--config={FOLDER / name}.yaml")
        made = encoder(cli)
        assert isinstance(made, SRU)
        assert (len(made.layers), made.output_size, cli.model.embedding_size) == (2, 128, 300)
        assert made.layers[0].dropout == cli.model.dropout.p == 0.5
        assert cli.datamodule.batch_size == 32
        assert cli.model.optimizer_factory([torch.zeros(1)]).defaults["lr"] == 0.001


# Tokens of each corpus, and the parameters of the published models.
LANGUAGE_MODELS = {
    "ptb": (10_001, 24.0e6),
    "wikitext2": (33_279, 27.6e6),
    "enwik8": (256, 48.8e6),
    "shakespeare": (67, 1.57e6),
    "wikitext103": (267_736, 148e6),
}


def size(name: str, *args: str) -> int:
    cli = built(f"--config={FOLDER / name}.yaml", *args)
    data, task = cli.datamodule, cli.model
    tokens = LANGUAGE_MODELS[name][0]
    specials = specials_of(type(data.tokenizer).__name__)
    words = ["<eos>", "\n", *map(str, range(tokens - 4))]
    tokenizer = data.tokenizer.with_vocabulary(words, specials, lines=True)
    with torch.device("meta"):
        task.build({"tokenizer": tokenizer.settings})
    return sum(p.numel() for p in task.parameters())


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_language_models_have_the_published_size_and_so_have_their_rivals(name: str) -> None:
    assert size(name) == pytest.approx(LANGUAGE_MODELS[name][1], rel=0.01)
    rivals = [path for path in PRESETS if path.stem.endswith(f"_{name}")]
    assert rivals
    for path in rivals:
        assert size(name, f"--model.encoder={path}") == pytest.approx(size(name), rel=0.01)


def translation_size(name: str, tokens: int, *args: str) -> int:
    cli = built(f"--config={FOLDER / name}.yaml", *args)
    words = [str(i) for i in range(tokens - 4)]
    side = Words("space").with_vocabulary(words, SPECIALS).settings
    with torch.device("meta"):
        cli.model.build({"source": side, "target": side, "joint": cli.datamodule.joint})
    return sum(p.numel() for p in cli.model.parameters())


def test_translators_have_the_published_size() -> None:
    # Table 3, in millions; the source of the numbers does not say how many tokens there are.
    tokens = 31_500
    base = f"--model.translator={FOLDER / 'translators' / 'transformer_wmt14.yaml'}"
    sizes = [
        translation_size("wmt14", tokens, *args)
        for args in ([base], ["--model.translator.num_layers=4"], [])
    ]
    assert [round(size / 1e6) for size in sizes] == [76, 79, 90]


def test_translators_of_a_configuration_have_one_size() -> None:
    size = translation_size("multi30k", 4000)
    rivals = [path for path in TRANSLATORS if path.stem.endswith("_multi30k")]
    assert len(rivals) == 4
    for path in rivals:
        narrow = ["--model.embedding_size=144"] if "transformer" in path.stem else []
        made = translation_size("multi30k", 4000, f"--model.translator={path}", *narrow)
        assert made == pytest.approx(size, rel=0.03)
