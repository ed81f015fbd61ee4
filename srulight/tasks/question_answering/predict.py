"""Answering a question about a text, or a file of questions in the format of SQuAD."""

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import track

from srulight.runtime.errors import InputError
from srulight.tasks.question_answering.corpora.squad import read_squad
from srulight.tasks.question_answering.task import PredictedAnswer, QuestionAnswering


def answer_file(task: QuestionAnswering, path: Path, batch_size: int, n_best: int) -> Iterator[str]:
    """Gives the predictions for a file of questions as JSON, in the official format.

    That is an object of question ids and answers, "" where there is none; with ``n_best`` above 1
    of question ids and lists of answers with their text, start and probability.

    Args:
        task: What answers.
        path: File in the format of SQuAD; answers in it are not looked at.
        batch_size: Questions at a time.
        n_best: Answers of each, at most.

    Raises:
        InputError: If the file is not what it should be.
    """
    paragraphs, _ = read_squad(path, "refuse", answered=False)
    asked = [(p.context, q) for p in paragraphs for q in p.questions]
    predictions: dict[str, object] = {}
    # In pieces, so that a long file shows its progress; long enough to sort by length.
    pieces = range(0, len(asked), batch_size * 16)
    for start in track(pieces, "answering", console=Console(stderr=True), transient=True):
        piece = asked[start : start + batch_size * 16]
        found = task.predict([(context, q.text) for context, q in piece], batch_size, n_best)
        for (_, question), best in zip(piece, found, strict=True):
            rows = [one._asdict() for one in best]
            predictions[question.id] = best[0].text if n_best == 1 else rows
    yield json.dumps(predictions, ensure_ascii=False, indent=1) + "\n"


def answer_question(
    task: QuestionAnswering, text: str, question: str, n_best: int
) -> Iterator[str]:
    """Gives a line for each answer: probability, place in characters, and the answer.

    Args:
        task: What answers.
        text: A text.
        question: A question about it.
        n_best: Answers, at most.

    Raises:
        InputError: If the text or the question is empty.
    """
    if not question.strip():
        raise InputError("expected a question, got nothing: set --question")
    (best,) = task.predict([(text, question)], n_best=n_best)
    for found in best:
        yield f"{found.probability:.4f}\t{found.start}\t{_line(found)}\n"


def _line(found: PredictedAnswer) -> str:
    return " ".join(found.text.split()) if found.start >= 0 else "(no answer)"
