"""Measures the figures of the documentation again, and writes them into its pages.

    python benchmarks/results.py --data FOLDER              all comparisons, for many hours
    python benchmarks/results.py --data FOLDER trec fsdd    some of them

The folder contains a folder for each data set. A comparison whose data set is missing is skipped.
An interrupted run resumes when it is started again. Each comparison is a call of ``python train.py
compare``. Its table, its sentences and its picture replace those between the comments ``<!--
results: NAME -->`` and ``<!-- end -->`` of a page in docs/results.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "results"
IMAGES = ROOT / "docs" / "images"
ALL = "SRU LSTM GRU QRNN CNN"


class Experiment(NamedTuple):
    """A comparison.

    Attributes:
        page: Name of the page that shows it, without extension.
        data: Folder of its data set; empty for generated data.
        config: Name of the configuration.
        options: Options of ``compare``.
    """

    page: str
    data: str
    config: str
    options: str


FAIR = "--seeds 3 --equal_parameters"
STEPS = "--model.scheduler.steps={steps}"
EXPERIMENTS = {
    "quickstart": Experiment(
        "text_classification", "", "quickstart", f"--encoders {ALL} bag_of_words --seeds 3"
    ),
    "trec": Experiment(
        "text_classification", "sentclass", "trec", f"--encoders {ALL} {FAIR} --tune 6 --epochs 8"
    ),
    "sst": Experiment(
        "text_classification", "sst_trees", "sst",
        f"--encoders SRU LSTM CNN {FAIR} --tune 4 --epochs 2",
    ),
    "sst_fine": Experiment(
        "text_classification", "sst_trees", "sst_fine",
        f"--encoders {ALL} {FAIR} --tune 6 --epochs 5 --data.corpus.phrases=false",
    ),
    "fsdd": Experiment(
        "speech_recognition", "fsdd", "fsdd",
        f"--encoders SRU SRU,bidirectional=true LSTM ResidualCNN {FAIR} --epochs 20 {STEPS}",
    ),
    "yesno": Experiment(
        "speech_recognition", "yesno", "yesno",
        f"--encoders SRU SRU,bidirectional=true LSTM ResidualCNN,num_layers=4 {FAIR} {STEPS}",
    ),
    "shakespeare": Experiment(
        "language_modeling", "charlm", "shakespeare",
        f"--encoders SRU LSTM,num_layers=2 GRU,num_layers=2 {FAIR} --minutes 3 "
        "--metrics bits_per_char --model.embedding_size=64 --model.encoder.hidden_size=192",
    ),
    "wikitext2": Experiment(
        "language_modeling", "wikitext2", "wikitext2_small",
        f"--encoders SRU LSTM,num_layers=2 {FAIR} --minutes 6",
    ),
    "multi30k": Experiment(
        "translation", "multi30k", "multi30k",
        f"--encoders SRU LSTM,num_layers=2 {FAIR} --minutes 6 {STEPS} --metrics bleu chrf",
    ),
    "squad": Experiment(
        "question_answering", "squad", "squad",
        f"--encoders SRU LSTM {FAIR} --minutes 6 --metrics f1 exact_match "
        "--model.layers.document=3 --model.layers.question=3 --model.encoder.hidden_size=64 "
        "--model.tuned_words=null --data.corpus.train=dev-v1.1.json --data.corpus.val=null "
        "--data.corpus.val_fraction=0.1 --data.corpus.test_fraction=0.2",
    ),
}  # fmt: skip


def run(name: str, data: Path, output: Path) -> None:
    """Runs a comparison, and writes its results into the page.

    Args:
        name: Name of the comparison.
        data: Folder of all data sets.
        output: Folder of all comparisons.
    """
    one = EXPERIMENTS[name]
    options = [f"--config=configs/{one.config}.yaml", *one.options.split()]
    if one.data:
        options.append(f"--data.root={data / one.data}")
    folder = output / name
    subprocess.run(
        [sys.executable, "train.py", "compare", *options, f"--output={folder}"],
        check=True,
        cwd=ROOT,
    )
    found = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    text = (folder / "comparison.md").read_text(encoding="utf-8")
    shutil.copy(folder / f"{one.config}.png", IMAGES / f"compare-{name}.png")
    page = PAGES / f"{one.page}.md"
    old = page.read_text(encoding="utf-8")
    page.write_text(filled(old, name, section(name, one, found, text)), encoding="utf-8")


def section(name: str, one: Experiment, found: dict[str, Any], text: str) -> str:
    """Formats the results of a comparison for a page.

    Args:
        name: Name of the comparison.
        one: The comparison.
        found: Its ``comparison.json``.
        text: Its ``comparison.md``.
    """
    _, _, body = text.partition(f"## {one.config}\n")
    root = " --data.root=FOLDER" if one.data else ""
    command = f"python train.py compare --config configs/{one.config}.yaml {one.options}{root}"
    commit = (found["commit"] or found["versions"]["srulight"])[:10]
    about = (
        f"Measured with commit {commit} and torch {found['versions']['torch']} "
        f"({found['machine']}, {found['date']}):"
    )
    picture = (
        f"![{one.config}: validation metric over the training time](../images/compare-{name}.png)"
    )
    return f"{body.strip()}\n\n{about}\n\n```\n{wrapped(command)}\n```\n\n{picture}"


def wrapped(command: str, limit: int = 110) -> str:
    """Breaks a command between its words, as a shell allows.

    Args:
        command: The command.
        limit: Maximum number of characters of a line.
    """
    lines = [""]
    for word in command.split():
        if len(lines[-1]) + len(word) + 3 > limit:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


def filled(page: str, name: str, text: str) -> str:
    """Replaces the results of a comparison in a page.

    Args:
        page: The page.
        name: Name of the comparison.
        text: Results.

    Raises:
        ValueError: If the page has no place for them.
    """
    begin = f"<!-- results: {name} -->"
    pattern = re.compile(rf"({re.escape(begin)}\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"expected {begin} ... <!-- end --> in the page; add it")
    return pattern.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page)


def main() -> None:
    """Runs the comparisons that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"comparisons: {', '.join(EXPERIMENTS)} (default: all)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        help="folder with a folder for each data set (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, default=Path("runs/results"),
                        help="folder for the trainings (default: %(default)s)")  # fmt: skip
    args = parser.parse_args()
    for name in args.names or EXPERIMENTS:
        if name not in EXPERIMENTS:
            parser.error(f"there is no comparison {name!r}; choose from {', '.join(EXPERIMENTS)}")
        folder = args.data.absolute() / EXPERIMENTS[name].data
        if folder.is_dir():
            run(name, args.data.absolute(), args.output.absolute())
        else:
            print(f"skipped {name}: there is no folder {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
