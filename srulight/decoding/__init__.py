"""From scores to tokens of frames, to sequences, and to parts of a text."""

from srulight.decoding.arpa import NGram, State
from srulight.decoding.base import Decoder, Token
from srulight.decoding.beam import BeamSearch
from srulight.decoding.greedy import Greedy
from srulight.decoding.sequences import Hypothesis, Penalties, Writer, search
from srulight.decoding.spans import Span, best_spans

__all__ = [
    "BeamSearch",
    "Decoder",
    "Greedy",
    "Hypothesis",
    "NGram",
    "Penalties",
    "Span",
    "State",
    "Token",
    "Writer",
    "best_spans",
    "search",
]
