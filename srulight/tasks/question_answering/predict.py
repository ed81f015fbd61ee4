"""Answering a question about a text, or a file of questions in the format of SQuAD."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from srulight.runtime.errors import InputError, check_range
from srulight.runtime.files import read_text
from srulight.tasks.prediction import Predictor, one_input, pieces
from srulight.tasks.question_answering.corpora.squad_format import read_squad

if TYPE_CHECKING:
    from srulight.tasks.question_answering.task import QuestionAnswering


class QuestionPredictor(Predictor):
    """Answers a file of questions, or one question about a text.

    For a file it writes the official JSON of predictions: an object of question ids and answers, ""
    where there is none; with n_best above 1, lists of answers with text, start and probability. For
    one question, a line for each answer: probability, where it begins in characters, and the
    answer, tabs between.

    Args:
        question: A question about the text in the input.
        batch_size: Questions at a time.
        n_best: Answers of each question, at most.
    """

    inputs = (
        "file of questions (.json, as SQuAD's); or, with --question, a text, - for standard input"
    )

    def __init__(self, question: str | None = None, batch_size: int = 64, n_best: int = 1) -> None:
        check_range(1, batch_size=batch_size, n_best=n_best)
        if question is not None and not question.strip():
            raise InputError("expected a question, got nothing: set --question")
        self.question = question
        self.batch_size = batch_size
        self.n_best = n_best

    def answers(self, task: "QuestionAnswering", inputs: list[str]) -> Iterator[str]:
        name = one_input(inputs, "file")
        if self.question is not None:
            return self._answer(task, read_text(name), self.question)
        if not name.endswith(".json"):
            raise InputError(
                f"expected a file of questions (.json, as SQuAD's), or a text and --question, got "
                f"{name}"
            )
        return self._answer_file(task, Path(name))

    def _answer(self, task: "QuestionAnswering", text: str, question: str) -> Iterator[str]:
        (best,) = task.predict([(text, question)], n_best=self.n_best)
        for answer in best:
            shown = " ".join(answer.text.split()) if answer.start >= 0 else "(no answer)"
            yield f"{answer.probability:.4f}\t{answer.start}\t{shown}\n"

    def _answer_file(self, task: "QuestionAnswering", path: Path) -> Iterator[str]:
        paragraphs, _ = read_squad(path, "refuse", answered=False)
        questions = [(p.context, q) for p in paragraphs for q in p.questions]
        predictions: dict[str, object] = {}
        for piece in pieces(questions, self.batch_size * 16, "answering"):
            inputs = [(context, question.text) for context, question in piece]
            answers = task.predict(inputs, self.batch_size, self.n_best)
            for (_, question), best in zip(piece, answers, strict=True):
                rows = [answer._asdict() for answer in best]
                predictions[question.id] = best[0].text if self.n_best == 1 else rows
        yield json.dumps(predictions, ensure_ascii=False, indent=1) + "\n"
