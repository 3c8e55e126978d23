"""All contenders on identical rows: each computes its own features from the same raw columns, in the same time.

Each contender's clock starts with its process, before any import, and stops when
its model is ready to predict. One function scores all of them.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import course, data, ours
from benchmarks.cells import PROJECT, Cell, Job, Results
from benchmarks.plan import OURS, SHORT_HISTORY, Bench
from benchmarks.sections import Row, Section, Table, estimate, not_measured, values_of

ENVIRONMENT = PROJECT / ".venv-bench"
MOST_OF_LIGHTGBM = 0.985
OURS_NAME = "ours"
PEERS = {
    "LightGBM": ("lightgbm_native", ()),
    "LightGBM, refit": ("lightgbm_native", ("--refit",)),
    "LightGBM, tuned": ("flaml_automl", ("--lightgbm",)),
    "FLAML": ("flaml_automl", ()),
    "AutoGluon": ("autogluon_tabular", ()),
}
"""Script and options of each peer."""
UNBUDGETED, AUTOML = ("LightGBM", "LightGBM, refit"), ("LightGBM, tuned", "FLAML", "AutoGluon")


def contender_cell(contender: str, budget: int, test: str, seed: int) -> str:
    """Name of the cell with one contender's result; budget 0 means that it has no budget."""
    spent = f" {budget} s" if budget else ""
    return f"contenders/{contender}{spent} {test} seed {seed}"


def entries(bench: Bench) -> list[tuple[str, int]]:
    """Contenders, each with its budget in seconds."""
    found = [(OURS_NAME, budget) for budget in bench.profile.budgets]
    found += [(name, 0) for name in UNBUDGETED]
    found += [(name, budget) for name in AUTOML for budget in bench.profile.peer_budgets]
    return [*found, ("course, tuned", bench.profile.course_budget)]


def cells(bench: Bench) -> list[Cell]:
    """Cells ordered by run: an interrupted benchmark then has every contender in the first runs."""
    return [
        _cell(bench, contender, budget, test, seed)
        for test, seed in bench.contender_runs
        for contender, budget in entries(bench)
    ]


def _cell(bench: Bench, contender: str, budget: int, test: str, seed: int) -> Cell:
    common: dict[str, Any] = {"budget": budget, "seed": seed, "test": test}
    rows = (data.rows_cell(test),)
    months = (*bench.short_history(test), bench.validation(test), test)
    name = contender_cell(contender, budget, test, seed)
    expected = 2 * budget + 30.0 if contender == "AutoGluon" else budget + 20.0
    if contender == OURS_NAME:
        return Cell(
            name, "benchmarks.contenders:run_ours", {**common, "months": list(months)}, code=OURS,
            after=tuple(map(data.month_cell, months)), threads=2, expected_seconds=expected,
        )  # fmt: skip
    if contender == "course, tuned":
        return Cell(
            name, "benchmarks.contenders:run_course", common,
            code=("mlops/training/baselines.py", "benchmarks/course.py", "requirements.txt"),
            after=rows, threads=2, expected_seconds=expected,
        )  # fmt: skip
    script, options = PEERS[contender]
    return Cell(
        name, "benchmarks.contenders:run_peer", {**common, "script": script, "options": list(options)},
        code=(f"benchmarks/peers/{script}.py", "benchmarks/peers/rows.py", "requirements-bench.txt"),
        after=rows, threads=2, expected_seconds=expected,
    )  # fmt: skip


def run_ours(job: Job, months: list[str], budget: int, seed: int, test: str) -> dict[str, Any]:
    """Our library from clean trips, features included; it tunes for the whole `budget`, in seconds."""
    cleaned = [data.clean_path(job, month) for month in months[:-1]]
    chosen = ours.settings(seed=seed, tuning_seconds=budget, max_trials=ours.ENDLESS_TRIALS)
    fitted = ours.fit(cleaned, job.folder, job.threads, chosen)
    seconds = time.time() - job.started
    requests, actual = ours.requests_and_minutes(data.clean_path(job, test))
    measured = ours.metrics(actual, ours.minutes_of(fitted.model.predict(requests)))
    return {
        **measured,
        "ready_seconds": seconds,
        "trials": fitted.trials,
        "search_seconds": fitted.search_seconds,
    }


def run_course(job: Job, budget: int, seed: int, test: str) -> dict[str, Any]:
    """The course's tuning for `budget` seconds; the last trial is finished."""
    import pandas as pd

    folder = Path(job.before[data.rows_cell(test)].folder)
    training, validation = (
        pd.read_parquet(folder / f"{part}.parquet") for part in ("training", "validation")
    )
    found = course.tune(training, validation, seconds=budget, seed=seed, threads=job.threads)
    seconds = time.time() - job.started
    predicted = found.recipe.predict(pd.read_parquet(folder / "test.parquet"))
    actual = pd.read_parquet(folder / "actual.parquet")[data.TARGET].to_numpy()
    measured = ours.metrics(actual, predicted)
    return {**measured, "ready_seconds": seconds, "trials": found.trials, "search_seconds": found.seconds}


def run_peer(job: Job, script: str, options: list[str], budget: int, seed: int, test: str) -> dict[str, Any]:
    """A peer's script in its own environment; this process scores its predictions."""
    import pandas as pd

    folder, started = Path(job.before[data.rows_cell(test)].folder), time.time()
    about = call_peer(job, script, folder, "--budget", budget, "--seed", seed, *options)
    predicted = pd.read_parquet(job.folder / "peer" / "predictions.parquet")[data.TARGET].to_numpy()
    actual = pd.read_parquet(folder / "actual.parquet")[data.TARGET].to_numpy()
    measured = ours.metrics(actual, predicted)
    ready = about.pop("ready_at") - started
    return {**measured, "ready_seconds": ready, "search_seconds": float(budget), **about}


def call_peer(job: Job, script: str, folder: Path, *options: object) -> dict[str, Any]:
    """What a peer's script says about itself; its other output is below ``job.folder / "peer"``.

    Raises
    ------
    FileNotFoundError, RuntimeError
    """
    python, out = ENVIRONMENT / "bin" / "python", job.folder / "peer"
    if not python.is_file():
        raise FileNotFoundError(f"{ENVIRONMENT.name} does not exist; `make bench` builds it")
    path = PROJECT / "benchmarks" / "peers" / f"{script}.py"
    command = map(str, [python, path, folder, out, "--threads", job.threads, *options])
    ended = subprocess.run(
        list(command), capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if ended.returncode:
        raise RuntimeError(f"{script} ended with status {ended.returncode}: {ended.stderr.strip()[-300:]}")
    about: dict[str, Any] = json.loads((out / "about.json").read_text(encoding="utf-8"))
    return about


def section(bench: Bench, results: Results) -> Section:
    """Our error divided by each peer's: mean of the ratios on the same month and seed."""
    found: dict[tuple[str, int], dict[tuple[str, int], dict[str, Any]]] = defaultdict(dict)
    for contender, budget in entries(bench):
        for test, seed in bench.contender_runs:
            values = values_of(results, contender_cell(contender, budget, test, seed))
            if values is not None:
                found[contender, budget][test, seed] = values
    first = bench.profile.budgets[0]
    threefold = [budget for budget in bench.profile.peer_budgets if budget >= 3 * first][:1]
    rivals = [(name, 0, MOST_OF_LIGHTGBM) for name in UNBUDGETED]
    rivals += [(name, budget, 1.0) for name in AUTOML for budget in threefold]
    rows = [_against(bench, results, found, first, *rival) for rival in rivals]
    points = {
        f"{name}{f' {budget} s' if budget else ''}": [values["rmse"] for values in answers.values()]
        for (name, budget), answers in found.items()
    }
    return Section(tuple(rows), (_table(bench, found), _trials(found)), {"contenders": points})


def _against(
    bench: Bench, results: Results, found: Any, budget: int, peer: str, peer_budget: int, most: float
) -> Row:
    spent = f" {peer_budget} s" if peer_budget else ""
    what = f"test RMSE, ours ({budget} s) divided by {peer}{spent}: mean ratio on identical rows"
    goal = f"at most {most:g}" if most < 1 else "below 1"
    mine, theirs = found.get((OURS_NAME, budget), {}), found.get((peer, peer_budget), {})
    shared = [pair for pair in mine if pair in theirs]
    if not shared:
        pair = [(OURS_NAME, budget), (peer, peer_budget)]
        names = [contender_cell(*entry, *run) for entry in pair for run in bench.contender_runs]
        return not_measured(what, goal, results, *names)
    ratio = estimate([mine[pair]["rmse"] / theirs[pair]["rmse"] for pair in shared])
    reached = ratio.mean <= most if most < 1 else ratio.mean < 1
    return Row(what, goal, f"{ratio} (n = {ratio.count})", reached)


def _table(bench: Bench, found: Any) -> Table:
    header = (
        "contender",
        "budget, s",
        "ready after, s",
        "test RMSE, min",
        "test MAE, min",
        "n",
        "RMSE / ours",
    )
    mine = found.get((OURS_NAME, bench.profile.budgets[0]), {})
    rows = []
    for (name, budget), answers in sorted(found.items(), key=lambda item: mean(_all(item[1], "rmse"))):
        shared = [pair for pair in answers if pair in mine]
        over = str(estimate([answers[p]["rmse"] / mine[p]["rmse"] for p in shared])) if shared else ""
        rows.append(
            (
                name, str(budget or ""), f"{mean(_all(answers, 'ready_seconds')):.0f}",
                str(estimate(_all(answers, "rmse"))), str(estimate(_all(answers, "mae"))), str(len(answers)), over,
            )
        )  # fmt: skip
    note = (
        f"Trained on {SHORT_HISTORY} months, tuned on the next, tested on the one after it: "
        f"{', '.join(f'{test} (seed {seed})' for test, seed in bench.contender_runs)}. Two threads. "
        "± is a 95 % interval over these runs. "
        "Months differ more than contenders do, so compare the ratios: each is within one month."
    )
    return Table("Contenders on identical rows", header, tuple(rows), note)


def _trials(found: Any) -> Table:
    rows = []
    for (name, budget), answers in found.items():
        if budget and _all(answers, "trials"):
            pace = mean(60 * v["trials"] / v["search_seconds"] for v in answers.values())
            rows.append((name, str(budget), f"{mean(_all(answers, 'trials')):.0f}", f"{pace:.1f}"))
    return Table("Trials", ("contender", "budget, s", "trials", "trials per minute"), tuple(rows))


def _all(answers: dict[Any, dict[str, Any]], name: str) -> list[float]:
    return [values[name] for values in answers.values()]
