"""Text for a terminal."""

import unicodedata


def printable(text: str) -> str:
    """Replaces characters that could control the terminal, or that it cannot show, by "?".

    Args:
        text: Text from a file, which is not trusted.
    """
    return "".join(char if char.isprintable() else "?" for char in text)


def width(text: str) -> int:
    """Returns the number of columns that a text takes up.

    Args:
        text: Printable text. East Asian characters are two columns wide; accents that combine with
            the character before them take up none.
    """
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def shortened(text: str, limit: int) -> str:
    """Replaces the middle of a longer text by an ellipsis.

    Args:
        text: Printable text.
        limit: Maximum number of columns, at least 3.
    """
    if width(text) <= limit:
        return text
    head, tail = text, text
    # Names that are long often differ only at the end, such as paths.
    while width(head) > limit // 2:
        head = head[:-1]
    while width(tail) > limit - 1 - limit // 2:
        tail = tail[1:]
    return f"{head}…{tail}"


def decimal(value: float) -> str:
    """Formats a measure with four decimals, or with four digits if it is very small or large."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:.4f}"
    return f"{value:.4g}"
