"""Parts of a GPU session that train: every task in every precision, and a resumed run."""

import csv
import json
import math
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpu_parts import ROOT, Finished, Outcome, Session

from srulight.bench.tables import Row

PRECISIONS = {"32-true": 1e-3, "16-mixed": 5e-3, "bf16-mixed": 2e-2}
"""Largest relative difference of the first loss from the CPU's. On a GPU, float32 convolutions
round to 10 bits."""

NO_DROPOUT = {
    "quickstart": ("--model.dropout=0", "--model.encoder.dropout=0"),
    "language_model": ("--model.dropout=0", "--model.encoder.dropout=0"),
    "speech": (
        "--model.dropout=0",
        "--model.encoder.dropout=0",
        "--model.augmentation.frequency_masks=0",
    ),
    "translation": ("--model.translator.dropout=0",),
    "questions": ("--model.word_dropout=0", "--model.dropout=0"),
}
"""A configuration of each task without dropout, since devices draw different random numbers."""

SMALL = [
    f"--data.corpus.{split}_size={n}" for split, n in (("train", 200), ("val", 20), ("test", 20))
]
"""Data of a rehearsal. Generating all of it would take longer than the training."""

WORKERS = 16
"""Number of parallel trainings on one GPU. They test results, not speed."""

METRICS = {
    "quickstart": "val/accuracy",
    "language_model": "val/perplexity",
    "speech": "val/wer",
    "translation": "val/bleu",
    "questions": "val/f1",
}


def training(session: Session) -> Outcome:
    """Trains each task in each precision, in parallel, and compares the first losses."""
    jobs: dict[tuple[str, str], list[str]] = {}
    brief = ["--trainer.max_steps=5", "--trainer.limit_val_batches=1"]
    brief += SMALL if session.rehearsal else []
    for config in NO_DROPOUT:  # with the kernels of the CPU, whichever kernels the others use
        jobs[config, "CPU"] = ["--trainer.accelerator=cpu", *brief]
    long = ["--trainer.accelerator=gpu", "--trainer.max_time=00:00:00:30"]
    options = jobs["quickstart", "CPU"] if session.rehearsal else [*long, "--trainer.max_epochs=-1"]
    for precision in PRECISIONS:
        for config in NO_DROPOUT:
            jobs[config, precision] = [*options, f"--trainer.precision={precision}"]
    folder = session.out / "training"
    shutil.rmtree(folder, ignore_errors=True)

    def train(key: tuple[str, str]) -> Finished:
        config, name = key
        place = folder / config / name
        place.mkdir(parents=True)
        environment = {"OMP_NUM_THREADS": "1"}
        if name == "CPU":
            environment["SRULIGHT_PREBUILT"] = ""
        keep = ["--trainer.callbacks+=first_losses.FirstLosses"]
        keep += [f"--trainer.callbacks.path={place / 'losses.json'}"]
        command = [*_fit(config, place), *jobs[key], *keep]
        done = session.command(*command, quiet=True, environment=environment)
        session.say(f"{config}, {name}: {'done' if done.code == 0 else 'failed'}")
        return done

    with ThreadPoolExecutor(os.cpu_count() if session.rehearsal else WORKERS) as pool:
        finished = dict(zip(jobs, pool.map(train, jobs), strict=True))
    failures = [
        sentence
        for (config, name), done in finished.items()
        for sentence in done.complaints(f"training: {config}, {name}")
    ]
    rows: list[Row] = []
    for config, precision in jobs:
        if precision != "CPU":
            row, wrong = compare(folder / config, config, precision)
            rows.append(row)
            if finished[config, "CPU"].code == finished[config, precision].code == 0:
                failures += wrong
    shutil.rmtree(folder)
    return Outcome(failures, {}, {"training": rows})


def _fit(config: str, folder: Path) -> list[str]:
    return [
        sys.executable, str(ROOT / "train.py"), "fit", f"--config=configs/{config}.yaml",
        *NO_DROPOUT[config],
        "--trainer.devices=1", f"--trainer.default_root_dir={folder}",
        "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
    ]  # fmt: skip


def validations(folder: Path, metric: str) -> list[dict[str, str]]:
    """Returns what the only run in a folder has logged at each validation.

    Args:
        folder: Folder of the run's ``version_0``.
        metric: Metric that is logged at validations only.
    """
    log = folder / "version_0" / "metrics.csv"
    if not log.exists():
        return []
    with log.open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row.get(metric)]


def compare(folder: Path, config: str, precision: str) -> tuple[Row, list[str]]:
    """Compares the first losses of a run with those of the CPU, and reads its last metric."""
    metric = METRICS[config]
    row: Row = {"configuration": config, "precision": precision}
    losses = {}
    for name in ("CPU", precision):
        path = folder / name / "losses.json"
        losses[name] = json.loads(path.read_text()) if path.exists() else []
    there, here = losses["CPU"], losses[precision]
    # In float16, later losses depend on the search for a gradient scale.
    count = 1 if precision == "16-mixed" else min(len(there), len(here))
    if not there or not here:
        return row, [f"training: {config}, {precision}: no losses to compare"]
    differences = [abs(a - b) / abs(b) for a, b in zip(here[:count], there[:count], strict=True)]
    row |= {"first loss": here[0], "CPU's": there[0], f"{len(there)} losses differ by": None}
    row[f"{len(there)} losses differ by"] = max(differences)
    for last in validations(folder / precision, metric)[-1:]:
        row |= {"steps": float(last["step"]) + 1, "metric": metric, "value": float(last[metric])}
    for step, (difference, loss) in enumerate(zip(differences, here, strict=False)):
        # Differences grow with each step.
        allowed = PRECISIONS[precision] * (1 if step == 0 else 5)
        if not (math.isfinite(loss) and difference <= allowed):
            said = (
                f"training: {config}, {precision}: loss {step + 1} is {loss:.5f}, but "
                f"{there[step]:.5f} on the CPU; expected a relative difference of at most "
                f"{allowed:.0e}"
            )
            return row, [said]
    return row, []


def resume(session: Session) -> Outcome:
    """Stops a run halfway, resumes it, and compares its weights with those of an unbroken run."""
    steps = (4, 8) if session.rehearsal else (60, 120)
    folder = session.out / "resume"
    shutil.rmtree(folder, ignore_errors=True)
    accelerator = f"--trainer.accelerator={'cpu' if session.rehearsal else 'gpu'}"
    common = [accelerator, "--trainer.deterministic=true", "--trainer.limit_val_batches=1"]
    common += SMALL if session.rehearsal else []

    def fit(name: str, last: int, *more: str) -> Finished:
        command = [*_fit("quickstart", folder / name), *common, f"--trainer.max_steps={last}"]
        return session.command(*command, *more, quiet=True)

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(fit, ("whole", "halves"), (steps[1], steps[0])))
    last = "version_0/checkpoints/last.ckpt"
    done.append(fit("halves", steps[1], f"--ckpt_path={folder / 'halves' / last}"))
    code = (
        "import sys, torch; a, b = (torch.load(p, weights_only=True, map_location='cpu') for p in"
        " sys.argv[1:]); print(a['global_step'], b['global_step'], max(float((a['state_dict'][k] -"
        " w).abs().max()) for k, w in b['state_dict'].items()))"
    )
    if all(d.code == 0 for d in done):
        paths = [str(folder / name / last) for name in ("whole", "halves")]
        done.append(session.command(sys.executable, "-c", code, *paths))
    failures = [sentence for d in done for sentence in d.complaints("resume: a run")]
    facts: dict[str, object] = {}
    if not failures:
        one, other, largest = done[-1].output.split()[-3:]
        facts = {"steps": int(other), "largest difference of a weight": float(largest)}
        if one != other or float(largest) != 0:
            failures = [
                f"resume: a weight differs by {largest} (unbroken {one} steps, resumed {other})"
            ]
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(failures, facts, {})
