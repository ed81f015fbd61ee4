"""Goals for the speed of the kernels on a GPU, and their comparison with measured tables."""

from typing import NamedTuple

from srulight.bench.tables import Row, text_of

PAPER = ("32,32,256", "128,32,512")
"""T, B and d in the paper's comparison."""

WIDE = 12_000
"""Number of channels (B times d) that fill a GPU."""


class Goal(NamedTuple):
    """A bound on a column of a table.

    Attributes:
        text: Description of the column.
        table: Name of the table.
        column: Name of the column.
        least: Whether the bound is a minimum instead of a maximum.
        bound: The bound.
        sizes: Sizes that the goal applies to. None means all with at least ``WIDE`` channels.
    """

    text: str
    table: str
    column: str
    least: bool
    bound: float
    sizes: tuple[str, ...] | None = None


GOALS = (
    Goal(
        "bandwidth of the recurrence / bandwidth of a copy", "kernel", "share of copy", True, 0.85
    ),
    Goal("time of a layer / time of its product", "layers", "SRU / product", False, 1.25),
    Goal("time of an LSTM / time of a layer", "layers", "LSTM / SRU", True, 10, PAPER),
    Goal("time of a Conv1d-k3 / time of a layer", "layers", "Conv1d-k3 / SRU", True, 1.0, PAPER),
    Goal("time of the published kernel / time of srulight's", "kernel", "sru 2.6 / SRU", True, 2.0),
)


def _counts(goal: Goal, row: Row) -> bool:
    text = str(row["T, B, d"])
    _, batch, size = map(int, text.split(","))
    return batch * size >= WIDE if goal.sizes is None else text in goal.sizes


def judge(tables: dict[str, list[Row]]) -> list[Row]:
    """Compares the worst case of each goal with its bound, for goals that were measured."""
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
            "measured": f"{text_of(value)}, worst of {len(cases)} measured ({where})",
            "met": "yes" if met else "no",
        })  # fmt: skip
    return found
