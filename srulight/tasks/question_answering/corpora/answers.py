"""Whether an answer is where a file says, and where it is otherwise."""

import re
from typing import Literal, NamedTuple

from srulight.tasks.question_answering.corpora.base import Answer

_NEAR = 20  # Characters that an answer may be away from where it should be.

Slip = Literal["white space", "place"]


class Located(NamedTuple):
    """An answer that was found.

    Attributes:
        answer: The answer as it stands in the context, and where.
        slip: What was wrong; None if nothing.
    """

    answer: Answer
    slip: Slip | None


def locate(text: str, start: int, context: str) -> Located | None:
    """Finds an answer in its context.

    It may be a few characters away from where it should be, and its white space may be other than
    that of the context; of several places the nearest counts. Nothing else may differ.

    Args:
        text: The answer.
        start: Where it should begin, in characters.
        context: The text that has it.

    Returns:
        The answer; None if it has no words, or is not near where it should be, or that is no place
        in the context.
    """
    words = text.split()
    # White space around it moves it.
    inner = start + len(text) - len(text.lstrip())
    # To Python a negative place is one from the end.
    if not words or not 0 <= inner < len(context):
        return None
    if context.startswith(text, start) and text == text.strip():
        return Located(Answer(text, start), None)
    pattern = re.compile(r"\s+".join(map(re.escape, words)))
    found = [
        (abs(match.start() - inner), match)
        for match in pattern.finditer(context, max(0, inner - _NEAR))
        if match.start() <= inner + _NEAR
    ]
    if not found:
        return None
    away, match = min(found, key=lambda one: one[0])
    return Located(Answer(match[0], match.start()), "place" if away else "white space")
