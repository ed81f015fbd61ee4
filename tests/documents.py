"""What the documents tell people to type, for the tests of it."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
PROGRAMS = [
    "arecord", "compute-sanitizer", "cuobjdump", "echo", "export", "make", "nvcc", "pip",
    "pre-commit", "python", "sbatch", "source", "taskset", "torchrun",
]  # fmt: skip

ONLY_PARSED = {
    "configs/trec.yaml": "TREC is not at hand",
    "configs/mr.yaml": "the movie reviews are not at hand",
    "configs/ptb.yaml": "the Penn Treebank is not at hand",
    "configs/sst": "the Stanford Sentiment Treebank is not at hand",
    "configs/shakespeare.yaml": "tiny Shakespeare is not at hand",
    "configs/squad.yaml": "SQuAD is not at hand",
    "--data.root=operations": "the labels of operations are not at hand",
    "configs/cholec80": "Cholec80 is not at hand",
    "configs/jhmdb.yaml": "JHMDB is not at hand",
    "configs/fly": "the video of flies is not at hand",
    "configs/mouse": "the images of a mouse are not at hand",
    "free-spoken-digit-dataset": "the Free Spoken Digit Dataset is not at hand",
    "configs/yesno.yaml --data.download": "downloads",
    "configs/multi30k.yaml": "its subwords take thousands of sentences",
    "python train.py fit --config FILE --trainer.devices=4": "4 processes; tests/training does it",
    "predict ...": "no whole command",
    "python train.py doctor": "compares kernels for ten seconds; tests/doctor does it",
    "python train.py bench": "takes minutes; tests/bench does it with tiny sizes",
    "--model.compile=true": "takes minutes; tests/tasks/test_compile.py does it",
    "Logger --trainer": "needs another package; tests/training/test_loggers.py does it",
    "PyTorchProfiler": "needs more steps than the tests train",
    "python train.py compare": "trains for minutes; tests/experiments/test_compare.py does it",
    "--confirm": "uploads; tests/hub does it",
    "--ckpt_path=ann/reviews": "downloads; tests/hub does it",
    "torchrun": "several machines; tests/training/test_clusters.py does it",
    "python train.py serve": "runs until a signal; tests/serving starts it",
    "--ranges=ranges.yaml": "a second sweep in the folder of the first",
    "sbatch": "SLURM; tests/training/test_clusters.py imitates it",
}
"""Commands, or parts of them, that are parsed and not run, and why."""
ONLY_READ = {
    **dict.fromkeys(
        (
            "python train.py fit --config configs/tagging.yaml",
            "python train.py fit --config configs/tagging.yaml --model.encoder=LSTM",
            'echo "the old duck saw the watch" | python train.py predict --ckpt_path=best',
        ),
        "a task that is not there; tests/tasks/tagging has it",
    ),
    **dict.fromkeys(
        (
            "python train.py --help",
            "python train.py --version",
            "python train.py bench --help",
            "python train.py fit --help",
            "python train.py fit --model.help=TextClassification",
            "python train.py fit --data.help=TextClassificationData",
            "python train.py fit --config configs/quickstart.yaml --print_config",
            "python train.py predict --ckpt_path=best --help",
            "python train.py serve --help",
        ),
        "prints help and ends; tests/test_cli.py",
    ),
    "compute-sanitizer": "a GPU",
    "cuobjdump": "CUDA",
    "export": "what a shell does",
    "nvcc": "CUDA",
    "pip freeze": "installs nothing",
    "pre-commit": "hooks of a checkout",
    "source": "what a shell does",
    "python -m pytest -m cuda": "would run these tests",
    "python -m spacy download en_core_web_sm": "downloads",
    "python -m srulight": "no whole command",
    "python train.py": "no whole command",
    "python benchmarks/parity.py": "takes no options",
    "taskset -c 0 python benchmarks/quantized_layers.py": "takes no options",
    "taskset -c 0 python benchmarks/codebook_products.py": "takes no options",
    "python tests/messages.py": "takes no options",
}
"""Programs and commands that are not even parsed, and why."""


NAMED = re.compile(r"# ([\w./-]+\.(?:py|yaml|toml))\n")
"""First line of a block that is a file, with its name."""
FILES = {"add_a_task.md": "tests/tasks/tagging writes them, and trains what they hold"}
"""Documents whose blocks are files of srulight itself, and what tests them."""


class Step(NamedTuple):
    """A command to type, Python to run, or a file to write.

    Attributes:
        text: The command, the Python or the content of the file.
        is_python: Whether the text is Python to run.
        file: Name of the file to write; empty if the text is not a file.
    """

    text: str
    is_python: bool = False
    file: str = ""


def steps(document: Path) -> list[Step]:
    """Gives the commands and the Python of a document, in order."""
    found = []
    text, end = document.read_text(encoding="utf-8"), 0
    for fence in [*FENCE.finditer(text), None]:
        between = text[end : fence.start() if fence else len(text)]
        for span in re.findall(r"`([^`]+)`", between):
            if is_command(command := " ".join(span.split())):
                found.append(Step(command))
        if fence is None:
            break
        end = fence.end()
        if named := NAMED.match(fence[2]):
            if document.name not in FILES:
                found.append(Step(fence[2], file=named[1]))
            continue
        if fence[1] == "python" and document.name in FILES:
            continue
        if fence[1] == "python":
            found.append(Step(fence[2], True))
            continue
        for line in fence[2].replace("\\\n", " ").splitlines():
            if is_command(line):
                found.append(Step(line.strip()))
    return found


def is_command(line: str) -> bool:
    words = line.split()
    while words and re.match(r"[A-Z_]+=", words[0]):
        del words[0]
    return len(words) > 1 and words[0] in PROGRAMS


def is_only_parsed(step: Step) -> bool:
    return any(part in step.text for part in ONLY_PARSED)


def is_only_read(step: Step) -> bool:
    return step.text in ONLY_READ or step.text.split()[0] in ONLY_READ


def is_run(step: Step) -> bool:
    is_complete = not (is_only_parsed(step) or is_only_read(step))
    is_command = "python train.py" in step.text and is_complete
    return step.is_python or bool(step.file) or is_command


def is_typed(step: Step) -> bool:
    return not (step.is_python or step.file)


STEPS = {document: steps(document) for document in DOCUMENTS}
COMMANDS = list(dict.fromkeys(s for all_ in STEPS.values() for s in all_ if is_typed(s)))


def pipeline(command: str) -> list[list[str]]:
    """Splits a command as a shell does: the words of each program, of which one feeds the next.

    A redirection into a file, the last two words, is dropped.
    """
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    words = list(lexer)
    if words[-2:-1] == [">"]:
        del words[-2:]
    bars = [i for i, word in enumerate(words) if word == "|"]
    return [words[i:j] for i, j in zip([0, *(b + 1 for b in bars)], [*bars, None], strict=True)]
