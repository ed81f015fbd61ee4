"""Writes the model card of a model on the Hugging Face hub."""

from typing import Any

from srulight import __version__
from srulight.export.card import LIMITS, facts, header
from srulight.export.settings import MANIFEST, SETTINGS, VOCABULARY, WEIGHTS
from srulight.training.resume.checkpoint_format import QUANTIZATION, TASK


def card(checkpoint: dict[str, Any], count: int, license_name: str, repo: str) -> str:
    """Writes the model card in Markdown, with the header that the hub reads.

    Args:
        checkpoint: Contents of the checkpoint.
        count: Number of parameters.
        license_name: License of the weights; empty if it was not given.
        repo: Name of the repository, ``owner/name``.
    """
    task = checkpoint[TASK].rpartition(".")[2]
    quantized = checkpoint.get(QUANTIZATION)
    stored = f", quantized to {quantized['bits']} bits" if quantized else ""
    return "\n".join(
        [
            *header(task, "sru", license_name), "", f"# {repo.rpartition('/')[2]}", "",
            f"A model that was trained with srulight {__version__}{stored}.", "",
            *facts(checkpoint, count, license_name),
            "", "## How to use it", "",
            "Install srulight with the extra `hub`, then load the model in Python:", "",
            "```python", "import srulight", "", f'task = srulight.load("{repo}")', "```", "",
            "Every command takes the model in place of a checkpoint:", "",
            "```", f"srulight predict --ckpt_path={repo} --help", "```",
            "", "## Files", "",
            f"- `{WEIGHTS}`: the weights.",
            f"- `{SETTINGS}`: the settings of the model and of its data.",
            f"- `{VOCABULARY}`: what the data determined, such as the vocabulary and the labels.",
            f"- `{MANIFEST}`: the size and the SHA-256 checksum of every file.",
            "", "The files contain data only: loading them runs no code.",
            "", "## Limits", "", LIMITS, "",
        ]
    )  # fmt: skip
