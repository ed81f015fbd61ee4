"""Writing on from a prompt, on the command line."""

import contextlib
import sys
from typing import TYPE_CHECKING

from srulight.runtime.files import well_formed
from srulight.tasks.language_modelling.sampling import Sampler
from srulight.tasks.prediction import Generator

if TYPE_CHECKING:
    from srulight.tasks.language_modelling.task import LanguageModelling


class TextGenerator(Generator):
    """Writes text as it comes, the prompt first; Ctrl-C ends it.

    Args:
        prompt: Text to go on from, in the form that the model was trained on; the start of a line
            if empty.
        length: Tokens to write: words, characters, bytes or pieces of words.
        temperature: Divides log-probabilities: below 1 keeps to what is likely; 0 always takes the
            likeliest.
        top_k: Tokens to choose among, the likeliest; 0 for all.
        top_p: Probability that the tokens to choose among have together, above 0 to 1.
        seed: Number that decides what is drawn; another each time if not given.
    """

    def __init__(
        self,
        prompt: str = "",
        length: int = 200,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> None:
        self.prompt = prompt
        self.length = length
        self.sampler = Sampler(temperature, top_k, top_p, seed)

    def run(self, task: "LanguageModelling") -> None:
        # Before the prompt is shown: a number may be out of range.
        pieces = task.generate(self.prompt, self.length, self.sampler)
        sys.stdout.write(well_formed(self.prompt))
        with contextlib.suppress(KeyboardInterrupt):
            for piece in pieces:
                sys.stdout.write(piece)
                sys.stdout.flush()
        sys.stdout.write("\n")
