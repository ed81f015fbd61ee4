"""The results of a comparison: a table, a picture, and what they allow to say."""

import csv
import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from srulight.bench.report import aligned
from srulight.bench.tables import Row, text_of
from srulight.experiments.figure import draw
from srulight.experiments.run import Result
from srulight.experiments.statistics import spread, verdict
from srulight.runtime.atomic_io import written


@dataclass
class Contender:
    """An encoder and its results.

    Attributes:
        label: Its name.
        options: Options of ``fit`` that select the encoder and its settings.
        results: Results by seed and fold; the fold is 0 without cross-validation.
        failures: Why trainings have no results, by seed and fold.
        tried: Best validation value of each trial of the tuning; None for one that failed.
    """

    label: str
    options: tuple[str, ...] = ()
    results: dict[tuple[int, int], Result] = field(default_factory=dict)
    failures: dict[tuple[int, int], str] = field(default_factory=dict)
    tried: list[float | None] = field(default_factory=list)

    def by_seed(self, folds: int) -> dict[int, list[Result]]:
        """Returns the results of each seed with a result for every fold.

        Args:
            folds: Number of folds.
        """
        seeds = sorted({seed for seed, _ in self.results})
        found = {s: [self.results[k] for k in sorted(self.results) if k[0] == s] for s in seeds}
        return {seed: results for seed, results in found.items() if len(results) == folds}

    def values(self, metric: str, folds: int) -> dict[int, float]:
        """Returns a test metric of each seed, the mean over the folds.

        Args:
            metric: Name of the metric, without test/.
            folds: Number of folds.
        """
        return {
            seed: statistics.mean(result.test[metric] for result in results)
            for seed, results in self.by_seed(folds).items()
        }


@dataclass
class Comparison:
    """Everything that was compared on one configuration.

    Attributes:
        name: Name of the configuration.
        contenders: The encoders, in the order that the user has given.
        metrics: Test metrics to show, without test/; the first one is compared.
        folds: Number of folds of the cross-validation; 1 without.
    """

    name: str
    contenders: list[Contender]
    metrics: list[str]
    folds: int = 1

    def rows(self) -> list[Row]:
        """Returns the cells of the table by column, a row per encoder with results."""
        return [self._row(one) for one in self.contenders if one.by_seed(self.folds)]

    def _row(self, contender: Contender) -> Row:
        by_seed = contender.by_seed(self.folds)
        every = [result for results in by_seed.values() for result in results]

        def median(values: Iterable[float | None]) -> float | None:
            known = [value for value in values if value is not None]
            return statistics.median(known) if known else None

        row: Row = {"encoder": contender.label, "parameters": f"{every[0].parameters:,}"}
        for metric in self.metrics:
            values = contender.values(metric, self.folds).values()
            row[metric] = spread(list(values))
        row["epochs"] = f"{statistics.median(r.epochs for r in every):g}"
        row["s / epoch"] = text_of(median(r.seconds_per_epoch for r in every))
        row[f"{every[0].unit} / s"] = text_of(median(r.rate for r in every))
        memory = median(r.peak_memory for r in every)
        row["peak memory (MB)"] = text_of(None if memory is None else memory / 1e6)
        for size in every[0].latency:
            seconds = median(r.latency.get(size) for r in every)
            row[f"ms, batch {size}"] = text_of(None if seconds is None else 1e3 * seconds)
        row["seeds"] = str(len(by_seed))
        return row

    def verdicts(self) -> list[str]:
        """Compares the first encoder with each other one, in a sentence."""
        with_results = [one for one in self.contenders if one.by_seed(self.folds)]
        if not with_results:
            return []
        first, *others = with_results
        ours = first.values(self.metrics[0], self.folds)
        found = []
        for other in others:
            theirs = other.values(self.metrics[0], self.folds)
            seeds = [seed for seed in ours if seed in theirs]
            found.append(
                verdict(
                    first.label, other.label, f"test {self.metrics[0]}",
                    [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds],
                )
            )  # fmt: skip
        return found

    def failures(self) -> list[str]:
        """Describes the trainings that failed."""
        found = []
        for one in self.contenders:
            for (seed, fold), reason in sorted(one.failures.items()):
                where = f", fold {fold}" if self.folds > 1 else ""
                found.append(f"{one.label}, seed {seed}{where}, failed: {reason}")
        return found

    def markdown(self) -> str:
        """Formats the table and the sentences below it as Markdown."""
        rows = self.rows()
        lines = [f"## {self.name}", ""]
        if rows:
            lines += [aligned(rows), ""]
        lines += [f"- {sentence}" for sentence in (*self.verdicts(), *self.failures())]
        return "\n".join(lines).rstrip() + "\n"

    def data(self) -> dict[str, Any]:
        """Returns everything as plain data."""
        return {
            "configuration": self.name,
            "metrics": self.metrics,
            "folds": self.folds,
            "verdicts": self.verdicts(),
            "encoders": [
                {
                    "encoder": one.label,
                    "options": list(one.options),
                    "trials": one.tried,
                    "runs": [
                        {"seed": seed, "fold": fold, **asdict(result)}
                        for (seed, fold), result in sorted(one.results.items())
                    ],
                    "failures": [
                        {"seed": seed, "fold": fold, "reason": reason}
                        for (seed, fold), reason in sorted(one.failures.items())
                    ],
                }
                for one in self.contenders
            ],
        }


def write(folder: Path, comparisons: list[Comparison], about: Mapping[str, Any]) -> list[Path]:
    """Writes the tables, the data and the pictures.

    Args:
        folder: Folder of the files, which are replaced.
        comparisons: What was compared.
        about: Command, date, machine and versions.

    Returns:
        Paths of the files.
    """
    head = [
        "# Comparison of encoders", "", f"    {about['command']}", "",
        f"{about['machine']}, srulight {about['commit'] or about['versions']['srulight']}, torch "
        f"{about['versions']['torch']}, {about['date']}. Metrics are those of the test data, with "
        "the mean and the standard deviation over the seeds. Times are medians. *ms* is the "
        "duration of a test step with that many examples.", "",
    ]  # fmt: skip
    parts = ["\n".join(head), *(one.markdown() for one in comparisons)]
    paths = [folder / "comparison.md", folder / "comparison.json", folder / "comparison.csv"]
    with written(paths[0]) as part:
        part.write_text("\n".join(parts), encoding="utf-8")
    with written(paths[1]) as part:
        data = {**about, "comparisons": [one.data() for one in comparisons]}
        part.write_text(json.dumps(data, indent=1), encoding="utf-8")
    rows = [{"configuration": one.name, **row} for one in comparisons for row in one.rows()]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with written(paths[2]) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    for one in comparisons:
        curves = {
            contender.label: [result.curve for result in contender.results.values()]
            for contender in one.contenders
            if contender.results
        }
        if curves:
            example = next(r for c in one.contenders for r in c.results.values())
            paths += draw(folder / one.name, curves, example.monitor, one.name)
    return paths
