"""The predict command of translation: translations, n-best lists and attention plots."""

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
    """Writes the translation of each input line, one per line.

    With n_best above 1 it writes one JSON object per input line instead. The object has the source
    and a list of translations, each with text, score and log_probability.

    Args:
        batch_size: Number of lines to translate at a time.
        beam_size: Number of hypotheses that beam search keeps; 1 decodes greedily. The default is
            the value in the checkpoint.
        n_best: Number of translations to write for each line, from 1 to beam_size.
        length_penalty: Exponent of the length normalization, 0 or more; larger values favor longer
            translations. The default is the value in the checkpoint.
        coverage_penalty: Weight of the penalty for source tokens that receive little attention, 0
            or more. The default is the value in the checkpoint.
        plot: Folder to write attention plots to: line-1.png for the first line, and so on.
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
        raise InputError(
            'plot needs matplotlib; install it: pip install "srulight[plot]"'
        ) from error


def _draw(best: PredictedTranslation, path: Path) -> None:
    """Draws the attention weights of each token of a translation over the source tokens."""
    from matplotlib.figure import Figure

    rows, columns = best.attention.shape
    figure = Figure(figsize=(2 + 0.4 * columns, 1.5 + 0.3 * rows), layout="constrained")
    axes = figure.subplots()
    axes.imshow(best.attention, vmin=0, vmax=1, cmap="binary", aspect="auto")
    axes.set_xticks(range(columns), [*best.source_tokens, END], rotation=60, ha="right")
    axes.set_yticks(range(rows), best.tokens)
    # Otherwise matplotlib would read text between dollar signs as a formula.
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    with written(path) as part:
        figure.savefig(part, dpi=100, format="png")
