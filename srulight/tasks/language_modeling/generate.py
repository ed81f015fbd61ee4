"""The command ``generate`` for language models."""

import contextlib
import sys
from typing import TYPE_CHECKING

from srulight.runtime.files import well_formed
from srulight.tasks.language_modeling.sampling import Sampler
from srulight.tasks.prediction import Generator

if TYPE_CHECKING:
    from srulight.tasks.language_modeling.task import LanguageModeling


class TextGenerator(Generator):
    """Writes the prompt and then the generated text as the model produces it.

    Press Ctrl-C to stop.

    Args:
        prompt: Text to continue, in the same form as the training text (tokenization, letter
            case). If it is empty, the model starts a new line.
        length: Number of tokens to generate: words, characters, bytes or subwords.
        temperature: Number that the log-probabilities are divided by. Values below 1 favor likely
            tokens; 0 always takes the most likely one.
        top_k: Number of most likely tokens to sample from; 0 for all.
        top_p: Sample only from the most likely tokens that together have this probability; above 0,
            at most 1.
        seed: Seed of the random numbers; if not given, each call generates another text.
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

    def run(self, task: "LanguageModeling") -> None:
        # Called before the prompt is written, because it checks the arguments.
        pieces = task.generate(self.prompt, self.length, self.sampler)
        sys.stdout.write(well_formed(self.prompt))
        with contextlib.suppress(KeyboardInterrupt):
            for piece in pieces:
                sys.stdout.write(piece)
                sys.stdout.flush()
        sys.stdout.write("\n")
