"""Attention plots show which source tokens each token of a translation attends to."""

from pathlib import Path
from typing import Any

import pytest
import torch

from srulight.tasks.translation.batch import SPECIALS
from srulight.tasks.translation.beams import Hypothesis
from srulight.tasks.translation.predict import TranslationPredictor
from srulight.tasks.translation.task import Translation
from srulight.text.tokenizers import Words


def test_a_picture_for_each_line_that_has_a_translation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: list[Any]
) -> None:
    side = Words("space").with_vocabulary(["a", "b", "$x$"], SPECIALS)
    task = Translation(embedding_size=8)
    task.metadata = {"source": side.settings, "target": side.settings, "joint": True}
    task.build(task.metadata)
    a, b, x = (side.tokens.index(token) for token in ("a", "b", "$x$"))
    looks = torch.tensor([[0.1, 0.3, 0.6], [0.2, 0.7, 0.1], [1.0, 0.0, 0.0]])
    found = [Hypothesis((x, a, b), -1.0, -1.0, looks), Hypothesis((), -1.0, -1.0, looks[:0])]
    monkeypatch.setattr(
        "srulight.tasks.translation.task.beam_search",
        lambda *_, **__: [found[:1], found[1:], found[:1]],
    )
    (tmp_path / "in.txt").write_text("a b\nb b\nb a\n")
    predictor = TranslationPredictor(plot=str(tmp_path / "plots"))
    lines = list(predictor.answers(task.eval(), [str(tmp_path / "in.txt")]))
    assert lines == ["$x$ a b\n", "\n", "$x$ a b\n"]

    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == ["line-1.png", "line-3.png"]
    assert len(figures) == 2
    for figure, source in zip(figures, (["a", "b", "</s>"], ["b", "a", "</s>"]), strict=True):
        (axes,) = figure.axes
        (shown,) = axes.images
        torch.testing.assert_close(torch.tensor(shown.get_array()), looks)
        assert [label.get_text() for label in axes.get_xticklabels()] == source
        assert [label.get_text() for label in axes.get_yticklabels()] == ["$x$", "a", "b"]
        assert not axes.get_yticklabels()[0].get_parse_math()  # dollar signs do not start formulas

    # White is 0 and black is 1: the darkest cell of a row has the most attention.
    pixels = pytest.importorskip("matplotlib.image").imread(tmp_path / "plots" / "line-1.png")
    height = len(pixels)
    box = figures[0].axes[0].get_window_extent()
    for row, column in enumerate((2, 1, 0)):
        y = height - (box.y1 - (row + 0.5) * box.height / 3)
        cells = [
            float(pixels[int(y), int(box.x0 + (i + 0.5) * box.width / 3), 0]) for i in range(3)
        ]
        assert cells.index(min(cells)) == column
