"""Translating lines, with the n best translations and pictures of the attention where asked for."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError
from srulight.tasks.translation.generation import Translated
from srulight.tasks.translation.task import Translation


def translate(
    task: Translation, sentences: Sequence[str], batch_size: int, n_best: int, plot: str | None
) -> Iterator[str]:
    """Gives a line for each sentence, in order.

    Args:
        task: What translates.
        sentences: Lines to translate.
        batch_size: Sentences at a time.
        n_best: Translations of each: with 1 a line is the translation, with more a JSON object.
        plot: Folder of pictures of the attention, line-1.png for the first line; none if None.

    Raises:
        InputError: If a picture is asked for and cannot be drawn.
    """
    if plot is not None:
        _check_matplotlib()
    # In pieces, so that a long file shows its progress; long enough to sort by length.
    pieces = range(0, len(sentences), batch_size * 16)
    for start in track(pieces, "translating", console=Console(stderr=True), transient=True):
        piece = sentences[start : start + batch_size * 16]
        found = task.predict(piece, batch_size, n_best)
        for number, (sentence, best) in enumerate(zip(piece, found, strict=True), start + 1):
            if plot is not None and best[0].tokens:
                _draw(best[0], Path(plot) / f"line-{number}.png")
            yield best[0].text + "\n" if n_best == 1 else _row(sentence, best)


def _row(sentence: str, best: Sequence[Translated]) -> str:
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


def _draw(best: Translated, path: Path) -> None:
    """Draws how much each token of a translation looked at each token of the sentence."""
    from matplotlib.figure import Figure

    rows, columns = best.attention.shape
    figure = Figure(figsize=(2 + 0.4 * columns, 1.5 + 0.3 * rows), layout="constrained")
    axes = figure.subplots()
    axes.imshow(best.attention, vmin=0, vmax=1, cmap="Greys", aspect="auto")
    # The end of a sentence is looked at, too.
    axes.set_xticks(range(columns), [*best.source_tokens, "</s>"], rotation=60, ha="right")
    axes.set_yticks(range(rows), best.tokens)
    # Text of a dollar sign is no formula.
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    with written(path) as part:
        figure.savefig(part, dpi=100, format="png")
