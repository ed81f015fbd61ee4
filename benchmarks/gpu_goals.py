"""What the kernels are meant to reach on a GPU, and whether measured tables say that they do."""

from typing import NamedTuple

from tables import Row, text_of

PAPER = ("32,32,256", "128,32,512")
"""T, B and d of the paper's comparison."""

WIDE = 12_000
"""Channels (B times d) from which on a GPU is full."""


class Goal(NamedTuple):
    """A bound on a column of a table.

    Attributes:
        text: What is meant.
        table: Name of the table.
        column: Its column.
        least: Whether the bound is the least value allowed, not the largest.
        bound: The bound.
        sizes: Sizes it is meant for; None for all with at least ``WIDE`` channels.
    """

    text: str
    table: str
    column: str
    least: bool
    bound: float
    sizes: tuple[str, ...] | None = None


GOALS = (
    Goal("recurrence, share of the copy's bandwidth", "kernel", "share of copy", True, 0.85),
    Goal("layer, times its product", "layers", "SRU / product", False, 1.25),
    Goal("LSTM, times the layer", "layers", "LSTM / SRU", True, 10, PAPER),
    Goal("Conv1d of k = 3, times the layer", "layers", "Conv1d / SRU", True, 1.0, PAPER),
    Goal("published kernel, times ours", "kernel", "sru 2.6 / SRU", True, 2.0),
)


def _counts(goal: Goal, row: Row) -> bool:
    text = str(row["T, B, d"])
    _, batch, size = map(int, text.split(","))
    return batch * size >= WIDE if goal.sizes is None else text in goal.sizes


def judge(tables: dict[str, list[Row]]) -> list[Row]:
    """Compares the worst case of each goal with its bound; leaves out what was not measured."""
    found: list[Row] = []
    for goal in GOALS:
        cases = [row for row in tables.get(goal.table, []) if _counts(goal, row)]
        cases = [row for row in cases if isinstance(row.get(goal.column), float | int)]
        if not cases:
            continue
        worst = (min if goal.least else max)(cases, key=lambda row: row[goal.column])  # type: ignore[arg-type, return-value]
        value = worst[goal.column]
        assert isinstance(value, float | int)
        sign = "at least" if goal.least else "at most"
        met = value >= goal.bound if goal.least else value <= goal.bound
        where = ", ".join(str(worst[name]) for name in ("dtype", "T, B, d", "pass"))
        found.append({
            "goal": f"{goal.text}: {sign} {goal.bound:g}",
            "measured": f"{text_of(value)}, the worst of {len(cases)} ({where})",
            "met": "yes" if met else "no",
        })  # fmt: skip
    return found
