"""Texts for exported networks: real sentences, and the tokenizer of the example in plain Python."""

from collections.abc import Sequence
from typing import Any

from srulight.data.grammar import GrammarSizes, draw
from srulight.runtime.errors import InputError
from srulight.runtime.files import lines
from srulight.text.tokenizers import Bytes, Characters, Tokenizer, Words
from srulight.text.tokenizers.splitting import word_pattern

_MOST = 256
"""Number of lines of a file that are compared."""

HEAD = """import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime

FOLDER = Path(__file__).parent
names = ("settings.json", "metadata.json")
settings, metadata = (json.loads((FOLDER / name).read_text("utf-8")) for name in names)
facts = settings["facts"]
"""
"""First lines of every example."""


def lines_or_grammar(paths: Sequence[str]) -> list[str]:
    """Returns the first lines of text files, or sentences of the embedded grammar without any."""
    if not paths:
        # Its groups of sentences share no adjectives, so the smallest parts have some of each.
        return [sentence.text for sentence in draw(GrammarSizes(64, 8, 8, seed=1))[0]]
    texts = [line for path in paths for _, line in lines(path)][:_MOST]
    if not any(text.strip() for text in texts):
        raise InputError(f"--input: expected lines of text in {', '.join(paths)}, got none")
    return texts


def facts_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """Returns what the example needs to know about a tokenizer."""
    pattern = r"(?s)."
    if isinstance(tokenizer, Words):
        pattern = word_pattern(tokenizer.split) or ""
    return {
        "pattern": pattern, "lowercase": tokenizer.lowercase, "unknown": tokenizer.unknown,
        "specials": len(tokenizer.specials), "space": " " if isinstance(tokenizer, Words) else "",
    }  # fmt: skip


def encoder_code(tokenizer: Tokenizer, name: str = "tokenizer", fact: str = "tokenizer") -> str:
    """Returns the lines of the example that define ``encode``, from a text to token ids.

    Args:
        tokenizer: The tokenizer.
        name: Its name in the metadata.
        fact: Its name in the facts.
    """
    if isinstance(tokenizer, Bytes):
        return f"""rules = facts["{fact}"]


def encode(text):
    return [rules["specials"] + byte for byte in text.encode()]
"""
    if isinstance(tokenizer, Characters) or (
        isinstance(tokenizer, Words) and word_pattern(tokenizer.split) is not None
    ):
        return f"""rules, tokens = facts["{fact}"], metadata["{name}"]["vocabulary"]
ids = {{token: i for i, token in enumerate(tokens) if i >= rules["specials"]}}


def encode(text):
    text = text.lower() if rules["lowercase"] else text
    parts = re.findall(rules["pattern"], text, re.VERBOSE | re.IGNORECASE)
    return [ids.get(part, rules["unknown"]) for part in parts]
"""
    name = type(tokenizer).__name__
    return f"""# {name} needs another package: pass token ids, separated by spaces.


def encode(text):
    return [int(part) for part in text.split()]
"""
