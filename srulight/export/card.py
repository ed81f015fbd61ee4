"""Writes the model card of an export."""

import json
from dataclasses import dataclass
from typing import Any

from srulight import __version__
from srulight.export.comparison import TOLERANCE, Difference, Speed
from srulight.export.formats import Format
from srulight.export.networks.base import Model, Network
from srulight.export.settings import MANIFEST, numbers_of
from srulight.runtime.terminal import printable
from srulight.training.resume.checkpoint_format import CONFIG, TASK

_PIPELINES = {
    "TextClassification": "text-classification", "LanguageModeling": "text-generation",
    "SpeechRecognition": "automatic-speech-recognition", "Translation": "translation",
    "QuestionAnswering": "question-answering", "SequencePrediction": "time-series-forecasting",
    "VideoPrediction": "video-classification", "BoostedVideoPrediction": "video-classification",
    "PoseEstimation": "keypoint-detection",
}  # fmt: skip
"""Names of the tasks on the Hugging Face hub."""

LIMITS = (
    "The network was trained on the data above: other data, languages and domains may give much "
    "worse results, and it reproduces what is wrong or unfair in its data."
)
"""What the card says about the limits of every model."""

_MOST = 600
"""Number of characters of a setting that the card shows."""


@dataclass(frozen=True)
class Measured:
    """What was measured of an exported model.

    Attributes:
        model: The model.
        difference: Largest difference from the checkpoint.
        speeds: Speed by the number of sequences in the batch.
    """

    model: Model
    difference: Difference
    speeds: dict[int, Speed]


def card(
    checkpoint: dict[str, Any], network: Network, form: Format, measured: list[Measured],  # type: ignore[type-arg]
    license_name: str, machine: str,
) -> str:  # fmt: skip
    """Writes the model card in Markdown, with the header that model hubs read.

    Args:
        checkpoint: Contents of the checkpoint.
        network: The network.
        form: Format of the models.
        measured: The models, and what was measured of them.
        license_name: License of the weights; empty if it was not given.
        machine: Processor, number of threads and date of the measurements.
    """
    task = checkpoint[TASK].rpartition(".")[2]
    count = sum(p.numel() for p in network.task.parameters())
    return "\n".join(
        [
            *header(task, form.name, license_name), "", f"# {task}", "",
            f"A network that srulight {__version__} exported to {form.title}.", "",
            *facts(checkpoint, count, license_name),
            "", "## Files", "",
            *(line for one in measured for line in _model(one, form)),
            "- `weights.safetensors`: the weights. `settings.json` and `metadata.json`: the "
            "settings, and what the data determined, such as the vocabulary.",
            *([f"- `example.py`: {_example(network)}"] if form.name == "onnx" else []),
            f"- `{MANIFEST}`: the SHA-256 checksum of every file.",
            "", "## Comparison with the checkpoint", "",
            f"Largest difference and median time in milliseconds ({machine}):", "",
            "| Model | Difference | Batch | Checkpoint | This export |", "|---|---|---|---|---|",
            *(
                f"| {one.model.name} | {one.difference.largest:.1e} | {batch} | "
                f"{speed.checkpoint:.3g} | {speed.exported:.3g} |"
                for one in measured for batch, speed in one.speeds.items()
            ),
            "", "## How to use it", "",
            f"To run the models, you need {form.needs}.", "",
            *_usage(form, measured),
            "To use the weights with srulight:", "",
            "```python", "import srulight", "", 'task = srulight.load("FOLDER")', "```",
            "", "## Limits", "",
            f"The outputs equal those of the checkpoint up to {TOLERANCE:g} of the largest value. "
            f"{LIMITS} {_limit(task)}", "",
        ]
    )  # fmt: skip


def header(task: str, tag: str, license_name: str) -> list[str]:
    """Returns the lines of the header that model hubs read.

    Args:
        task: Name of the task's class.
        tag: A tag besides the task, such as the format.
        license_name: License of the weights; empty if it was not given.
    """
    lines = ["---", "library_name: srulight", f"tags: [{tag}, {task}]"]
    if license_name:
        lines.append(f"license: {json.dumps(license_name)}")
    if task in _PIPELINES:
        lines.append(f"pipeline_tag: {_PIPELINES[task]}")
    return [*lines, "---"]


def facts(checkpoint: dict[str, Any], count: int, license_name: str) -> list[str]:
    """Returns the lines of a table about a model: task, encoder, data, metrics and license.

    Args:
        checkpoint: Contents of the checkpoint.
        count: Number of parameters.
        license_name: License of the weights; empty if it was not given.
    """
    return [
        "| | |", "|---|---|",
        f"| Task | {checkpoint[TASK].rpartition('.')[2]} |",
        *(f"| {name} | {_cell(value)} |" for name, value in _parts(checkpoint).items()),
        f"| Parameters | {count:,} |",
        f"| Data | {_data(checkpoint)} |",
        f"| Training | {_training(checkpoint)} |",
        *(f"| Metric: {key} | {value:.5g} |" for key, value in numbers_of(checkpoint).items()),
        f"| License | {_cell(license_name) or 'not stated: ask whoever published this model'} |",
    ]  # fmt: skip


def _parts(checkpoint: dict[str, Any]) -> dict[str, str]:
    """Describes the parts of a network that a setting chooses."""
    found = {}
    for name in ("encoder", "question_encoder", "translator", "subsampling", "frames", "head"):
        setting = checkpoint["hyper_parameters"].get(name)
        if isinstance(setting, dict) and "class_path" in setting:
            found[name.replace("_", " ").capitalize()] = _described(setting)
    return found or {"Encoder": "the default of the task"}


def _described(setting: dict[str, Any]) -> str:
    name = str(setting["class_path"]).rpartition(".")[2]
    options = [
        f"{key}={_described(value) if isinstance(value, dict) and 'class_path' in value else value}"
        for key, value in (setting.get("init_args") or {}).items()
    ]
    return f"{name}({', '.join(options)})"


def _cell(text: str) -> str:
    return printable(text)[:_MOST].replace("|", "\\|").replace("\n", " ")


def _data(checkpoint: dict[str, Any]) -> str:
    data = checkpoint.get(CONFIG, {}).get("data", {}).get("init_args", {})
    corpus = data.get("corpus")
    if not isinstance(corpus, dict) or "class_path" not in corpus:
        return "not recorded: the network was trained without the command line"
    return _cell(_described(corpus))


def _training(checkpoint: dict[str, Any]) -> str:
    return f"{checkpoint['global_step']:,} steps, to epoch {checkpoint['epoch'] + 1:,}"


def _model(one: Measured, form: Format) -> list[str]:
    def shapes(given: dict[str, tuple[str | int, ...]]) -> str:
        return ", ".join(
            f"`{name}` ({', '.join(map(str, shape))})" for name, shape in given.items()
        )

    suffix = "onnx" if form.name == "onnx" else "pt2"
    return [
        f"- `{one.model.name}.{suffix}`: {one.model.about}. Inputs: {shapes(one.model.inputs)}. "
        f"Outputs: {shapes(one.model.outputs)}."
    ]


def _example(network: Network) -> str:  # type: ignore[type-arg]
    return f"a program that needs onnxruntime and numpy only. It reads {network.example_reads}."


def _usage(form: Format, measured: list[Measured]) -> list[str]:
    if form.name == "onnx":
        return ["```", "python example.py", "```", ""]
    load = 'model = torch.export.load("model.pt2").module()'
    if form.name == "aoti":
        load = 'model = torch._inductor.aoti_load_package("model.pt2")'
    operators = ["import srulight.encoders  # registers the operators"]
    name, inputs = measured[0].model.name, ", ".join(measured[0].model.inputs)
    return [
        "```python", "import torch", *([] if form.name == "aten" else operators), "",
        load.replace("model.pt2", f"{name}.pt2"),
        "with torch.no_grad():", f"    outputs = model({inputs})", "```", "",
    ]  # fmt: skip


def _limit(task: str) -> str:
    return {
        "SpeechRecognition": "The models read frames of a filter bank, as `settings.json` "
        "describes them, not audio.",
        "QuestionAnswering": "The models read word ids and features of each word, not text.",
        "Translation": "The models compute one step of decoding; a beam search is up to you.",
        **dict.fromkeys(
            ("VideoPrediction", "BoostedVideoPrediction", "PoseEstimation"),
            "The models read decoded frames of the height and width in `metadata.json`, not files.",
        ),
    }.get(task, "")
