"""Messages follow the rules of CONTRIBUTING.md, as far as a program can check them.

``python tests/messages.py`` lists all messages. Read them aloud to judge the rest.
"""

import inspect
import re
from collections.abc import Callable

import pytest
from lightning import Trainer

import srulight.commands.training  # noqa: F401  imports all classes that messages name
from srulight.commands import bench, export, push, quantize, serve
from srulight.experiments import compare, sweep
from srulight.training import schedules  # noqa: F401
from tests.documents import ROOT
from tests.messages import Message, messages
from tests.test_site import hook

ALL = list(messages())
PYTHON = [message for message in ALL if message.place.startswith("srulight/")]
KERNELS = [message for message in ALL if message not in PYTHON]
NAMES = {"Lightning", "Moses", "PyTorch", "Python", "SentencePiece", "Unicode"}
"""Proper names that may begin a message."""
UNUSED = {
    "anew": "again",
    "go on": "resume",
    "going on": "resuming",
    "for want of": "because ... is missing",
    "mend": "fix",
    "please": "the imperative alone",
    "whoever": "the person or program",
}
"""Words that messages avoid, and what to write instead."""
PAIRS = {"(": ")", "[": "]"}


def ends_with_a_period(text: str) -> bool:
    """Messages are parts of lines, such as ``error: ...``, and may be followed by other text."""
    return text.endswith(".") and not text.endswith("...")


def begins_with_a_capital(text: str) -> bool:
    """A message follows ``error:`` or a place, so it does not begin a line."""
    first = re.match(r"[\w'+]+", text)
    if first is None or not first[0][0].isupper() or first[0] in NAMES:
        return False
    # Acronyms, environment variables and classes keep their capitals.
    named = first[0].isupper() or re.fullmatch(r"[A-Z]+[a-z]\w*[A-Z]\w*", first[0])
    return not named


def has_stray_spaces(text: str) -> bool:
    """Messages are put together from parts, which easily leaves two spaces or none."""
    return "  " in text.replace("\n  ", "\n") or text != text.strip() or " ," in text


def shouts(text: str) -> bool:
    """Exclamation marks do not help the reader."""
    return "!" in text


def uses_an_unused_word(text: str) -> bool:
    """Each of these words has a plainer one; see ``UNUSED``."""
    return any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in UNUSED)


def separates_what_was_got(text: str) -> bool:
    """A semicolon introduces what to do: ``expected WHAT, got WHAT; DO``."""
    return "; got " in text


def leaves_a_bracket_open(text: str) -> bool:
    """Brackets come in pairs."""
    bare = re.sub(r"\{[^}]*\}", "", text)
    return any(bare.count(left) != bare.count(right) for left, right in PAIRS.items())


RULES: list[Callable[[str], bool]] = [
    ends_with_a_period,
    begins_with_a_capital,
    has_stray_spaces,
    shouts,
    uses_an_unused_word,
    separates_what_was_got,
    leaves_a_bracket_open,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_message(rule: Callable[[str], bool]) -> None:
    broken = [f"{place}: {text}" for place, text in PYTHON if rule(text)]
    assert not broken, f"{rule.__doc__}\n" + "\n".join(broken)


@pytest.mark.parametrize("rule", [ends_with_a_period, shouts, uses_an_unused_word])
def test_no_message_of_a_kernel(rule: Callable[[str], bool]) -> None:
    # The list shows them without the values between their parts, so spaces cannot be checked.
    broken = [f"{place}: {text}" for place, text in KERNELS if rule(text)]
    assert not broken, f"{rule.__doc__}\n" + "\n".join(broken)


def test_no_two_messages_differ_in_case_or_space_alone() -> None:
    """Such a message was copied, and then edited in one place only."""
    seen: dict[str, Message] = {}
    for message in PYTHON:
        plain = " ".join(message.text.lower().split())
        assert seen.setdefault(plain, message).text == message.text, message.place


def test_every_option_that_a_message_names_exists() -> None:
    """A user who copies an option from a message must not get another error."""
    page = (ROOT / "docs" / "reference" / "options.md").read_text()
    known = {"config", "ckpt_path", "seed_everything", "print_config", "device", "input", "output"}
    known |= set(bench._OPTIONS)
    known |= {f"trainer.{name}" for name in inspect.signature(Trainer).parameters}
    known |= set(re.findall(r"`--([\w.]+)=\w+`", page))
    for prefix, path in re.findall(r"^<!-- options: (\S+) (\S+) -->$", page, re.MULTILINE):
        listed = hook("options").options_of(path, prefix.strip("-"))
        known |= set(re.findall(r"^`--([\w.]+)`", listed, re.MULTILINE))
    for command in (compare, export, push, quantize, serve, sweep):
        known |= {option.lstrip("-") for option in command.parser()._option_string_actions}
    groups = {name[:i] for name in known for i, sign in enumerate(name) if sign == "."}
    broken = []
    for place, text in PYTHON:
        for name in re.findall(r"(?<![\w{-])--([a-z][\w.{}]*)", re.sub(r"\{[^}]*\}", "{}", text)):
            bare = name.rstrip(".")
            if "{}" not in bare and bare not in known | groups:
                broken.append(f"{place}: --{bare}")
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (ends_with_a_period, "there is no file a.txt."),
        (begins_with_a_capital, "There is no file a.txt"),
        (has_stray_spaces, "expected a file,  got a folder"),
        (shouts, "there is no file!"),
        (uses_an_unused_word, "mend it"),
        (separates_what_was_got, "expected a file; got a folder"),
        (leaves_a_bracket_open, "expected a file (text, got a folder"),
    ],
)
def test_a_rule_finds_what_breaks_it(rule: Callable[[str], bool], text: str) -> None:
    assert rule(text)
    for good in (
        "train.csv:17: expected a label in column 'stars', got ''; fill it in, or delete the row",
        "num_heads must divide hidden_size (128), got 3",
        "SentencePiece needs text ...",
        "BLEU needs sacrebleu: pip install 'srulight[translation]'",
        "SRULIGHT_PLUGINS names {name}: {error}",
    ):
        assert not rule(good)
