"""Translations of lines on the command line, the n best of each, and pictures of the attention."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.prediction import LinePredictor, Predictor, pieces, read_lines
from srulight.tasks.translation.generation import PredictedTranslation
from srulight.text.tokenizers import END

if TYPE_CHECKING:
    from srulight.tasks.translation.task import Translation


class TranslationPredictor(Predictor):
    """Writes the translation of each line; with n_best above 1, a JSON object for each.

    The object has the source, and translations with text, score and log_probability.

    Args:
        batch_size: Lines at a time.
        beam_size: Translations that compete; 1 takes the likeliest token at each step; that of the
            checkpoint if not given.
        n_best: Translations of each line, 1 to beam_size.
        length_penalty: Exponent of the length that log-probabilities are divided by, 0 or more;
            that of the checkpoint if not given.
        coverage_penalty: Weight of what is lost by source tokens that got too little attention, 0
            or more; that of the checkpoint if not given.
        plot: Folder for pictures of the attention, line-1.png for the first line.
    """

    inputs = LinePredictor.inputs

    def __init__(
        self,
        batch_size: int = 64,
        beam_size: int | None = None,
        n_best: int = 1,
        length_penalty: float | None = None,
        coverage_penalty: float | None = None,
        plot: str | None = None,
    ) -> None:
        check_range(1, batch_size=batch_size, beam_size=beam_size, n_best=n_best)
        check_range(0, length_penalty=length_penalty, coverage_penalty=coverage_penalty)
        if plot is not None:
            _check_matplotlib()
        self.batch_size = batch_size
        self.n_best = n_best
        self.plot = plot
        given = {
            "beam_size": beam_size,
            "length_penalty": length_penalty,
            "coverage_penalty": coverage_penalty,
        }
        self.search = {name: value for name, value in given.items() if value is not None}

    def answers(self, task: "Translation", inputs: list[str]) -> Iterator[str]:
        task.search_with(**self.search)
        sentences = read_lines(task, inputs)
        number = 0
        for piece in pieces(sentences, self.batch_size * 16, "translating"):
            found = task.predict(piece, self.batch_size, self.n_best)
            for sentence, best in zip(piece, found, strict=True):
                number += 1
                if self.plot is not None and best[0].tokens:
                    _draw(best[0], Path(self.plot) / f"line-{number}.png")
                yield best[0].text + "\n" if self.n_best == 1 else _row(sentence, best)


def _row(sentence: str, best: Sequence[PredictedTranslation]) -> str:
    translations = [
        {
            "text": one.text,
            "score": round(one.score, 4),
            "log_probability": round(one.log_probability, 4),
        }
        for one in best
    ]
    row = {"source": sentence, "translations": translations}
    return json.dumps(row, ensure_ascii=False) + "\n"


def _check_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError('plot needs matplotlib: pip install "srulight[plot]"') from error


def _draw(best: PredictedTranslation, path: Path) -> None:
    """Draws the attention of each token of a translation to each token of the sentence."""
    from matplotlib.figure import Figure

    rows, columns = best.attention.shape
    figure = Figure(figsize=(2 + 0.4 * columns, 1.5 + 0.3 * rows), layout="constrained")
    axes = figure.subplots()
    axes.imshow(best.attention, vmin=0, vmax=1, cmap="Greys", aspect="auto")
    axes.set_xticks(range(columns), [*best.source_tokens, END], rotation=60, ha="right")
    axes.set_yticks(range(rows), best.tokens)
    # A dollar sign begins no formula.
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    with written(path) as part:
        figure.savefig(part, dpi=100, format="png")
