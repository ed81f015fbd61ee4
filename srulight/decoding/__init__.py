"""From the scores of frames to tokens, while they come or all at once."""

from srulight.decoding.arpa import NGram, State
from srulight.decoding.base import Decoder, Token
from srulight.decoding.beam import BeamSearch
from srulight.decoding.greedy import Greedy

__all__ = ["BeamSearch", "Decoder", "Greedy", "NGram", "State", "Token"]
