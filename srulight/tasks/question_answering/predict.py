"""The predict command of question answering: one question, or a file in the format of SQuAD."""

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
    """Answers one question about a text, or all questions of a JSON file.

    For one question, it writes a line per answer: probability, start in characters, and the answer,
    separated by tabs. For a file, it writes the JSON of predictions that the evaluation script of
    SQuAD reads: an object from question ids to answers, "" for no answer. With n_best above 1, each
    id maps to a list of answers with text, start and probability.

    Args:
        question: Question about the text in the input. Without it, the input is a JSON file of
            questions.
        batch_size: Number of questions to answer at a time.
        n_best: Maximum number of answers to write for each question.
    """

    inputs = (
        "JSON file of questions in the format of SQuAD; with --question, a text file, or - for "
        "standard input"
    )

    def __init__(self, question: str | None = None, batch_size: int = 64, n_best: int = 1) -> None:
        check_range(1, batch_size=batch_size, n_best=n_best)
        if question is not None and not question.strip():
            raise InputError(f"--question must have words, got {question!r}; pass a question")
        self.question = question
        self.batch_size = batch_size
        self.n_best = n_best

    def answers(self, task: "QuestionAnswering", inputs: list[str]) -> Iterator[str]:
        name = one_input(inputs, "file")
        if self.question is not None:
            return self._answer(task, read_text(name), self.question)
        if not name.endswith(".json"):
            raise InputError(
                f"--input must be a .json file of questions, got {name!r}; to ask about a text, "
                "pass --question=QUESTION"
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
