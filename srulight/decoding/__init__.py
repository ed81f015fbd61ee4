"""From scores to tokens: of frames, while they come or all at once, and of sequences."""

from srulight.decoding.arpa import NGram, State
from srulight.decoding.base import Decoder, Token
from srulight.decoding.beam import BeamSearch
from srulight.decoding.greedy import Greedy
from srulight.decoding.sequences import Hypothesis, Penalties, Writer, search

__all__ = [
    "BeamSearch",
    "Decoder",
    "Greedy",
    "Hypothesis",
    "NGram",
    "Penalties",
    "State",
    "Token",
    "Writer",
    "search",
]
