"""Our service under load beside the course's: single requests and lists, and what limits ours.

wrk posts trips of the last test month. The course's service runs first. Ours is then measured in the same way, and
once more at the course's highest rate, so that the waiting times of both can be compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import data, ours, registered, wrk
from benchmarks.cells import PROJECT, Cell, Clock, Job, Results
from benchmarks.plan import OURS, Bench
from benchmarks.sections import Row, Section, Table, not_measured, values_of
from benchmarks.servers import HOST, Server, free_port, running

LISTED, SINGLES, LISTS = 1000, 2000, 10
KINDS = {"one": "one request", "list": f"list of {LISTED:,}"}
CONNECTIONS, WORKERS = (1, 8, 32), (1, 2)
WARM_SECONDS, PARTS_CONNECTIONS = 1, 8
KEPT_SHARE = 0.95  # a rate is kept with so many of its answers: a run ends between two requests
SERVING, PEERS = PROJECT / ".venv-serving", PROJECT / ".venv-bench"
SCRIPTS = PROJECT / "benchmarks" / "peers"
TOOLS = ("benchmarks/load.py", "benchmarks/wrk.py", "benchmarks/servers.py", "benchmarks/post.lua")
OURS_CODE = (*OURS, *TOOLS, "requirements-serving.txt")
COURSE_CODE = (*TOOLS, "benchmarks/peers/course_service.py", "requirements-bench.txt")
PARTS_CODE = (*OURS_CODE, "benchmarks/peers/constant_answer.py")
PARTS_CELL = "load/parts of our service"
COURSE_COLUMNS = {
    "PULocationID": "pickup_zone",
    "DOLocationID": "dropoff_zone",
    "trip_distance": "distance_miles",
}


def cell_name(side: str, workers: int) -> str:
    """Name of the cell with one service; `side` is ours or course."""
    return f"load/{side}, {workers} worker{'s' if workers > 1 else ''}"


def cells(bench: Bench) -> list[Cell]:
    """Both services with each number of workers, and the parts of ours."""
    test, seconds = bench.test_months[-1], bench.profile.load_seconds
    parameters: dict[str, Any] = {"test": test, "seconds": seconds}
    month, found = data.month_cell(test), registered.cells(bench)
    runs = len(KINDS) * len(CONNECTIONS)
    for workers in WORKERS:
        course = cell_name("course", workers)
        found += [
            Cell(
                course, "benchmarks.load:measure_course", {**parameters, "workers": workers}, COURSE_CODE,
                after=(month, registered.COURSE_CELL), expected_seconds=10 + runs * seconds,
            ),
            Cell(
                cell_name("ours", workers), "benchmarks.load:measure_ours",
                {**parameters, "workers": workers, "service": bench.service}, OURS_CODE,
                after=(month, registered.VERSION_CELL, course),
                expected_seconds=20 + (runs + len(KINDS)) * seconds,
            ),
        ]  # fmt: skip
    return [
        *found,
        Cell(
            PARTS_CELL, "benchmarks.load:measure_parts", parameters, PARTS_CODE,
            after=(month, registered.MODEL_CELL), expected_seconds=15 + 2 * seconds,
        ),
    ]  # fmt: skip


# Measurements


def measure_course(job: Job, test: str, seconds: float, workers: int) -> dict[str, Any]:
    """The course's service for each kind of request and number of connections."""
    with _course_service(job, workers) as server:
        runs = _all_runs(server, _course_bodies(job, test), seconds)
        return {"runs": runs, "service_peak_bytes": server.peak_bytes()}


def measure_ours(job: Job, test: str, seconds: float, workers: int, service: str) -> dict[str, Any]:
    """Our service in the same way, and for each kind at the course's highest rate."""
    theirs = job.before[cell_name("course", workers)].values["runs"]
    bodies = _our_bodies(job, test)
    with _our_service(job, workers, service) as server:
        runs = _all_runs(server, bodies, seconds)
        for kind in KINDS:
            fastest = fastest_run(theirs, kind)
            rate = {"connections": fastest["connections"], "rate": fastest["per_second"]}
            runs.append(_run(server, kind, bodies[kind], seconds=seconds, **rate))
        return {"runs": runs, "service_peak_bytes": server.peak_bytes()}


def measure_parts(job: Job, test: str, seconds: float) -> dict[str, Any]:
    """CPU milliseconds for each kind of request of an app that answers a constant, and of the model alone."""
    model = ours.load(Path(job.before[registered.MODEL_CELL].folder) / "model")
    requests, _ = ours.requests_and_minutes(data.clean_path(job, test))
    bodies = _our_bodies(job, test)
    with _constant_service(job) as server:
        http = {
            kind: _run(server, kind, bodies[kind], connections=PARTS_CONNECTIONS, seconds=seconds)["cpu_ms"]
            for kind in KINDS
        }
    ask, singles = ours.asker(model), ours.single_requests(requests, SINGLES)
    lists = [requests.iloc[start : start + LISTED] for start in range(0, LISTS * LISTED, LISTED)]
    return {"http": http, "trees": {"one": _cpu_ms(ask, singles), "list": _cpu_ms(model.predict, lists)}}


def _cpu_ms(ask: Any, asked: Sequence[Any]) -> float:
    """Mean CPU milliseconds of an answer."""
    ask(asked[0])
    with Clock() as clock:
        for each in asked:
            ask(each)
    return 1000 * clock.cpu_seconds / len(asked)


def _all_runs(server: Server, bodies: Mapping[str, Path], seconds: float) -> list[dict[str, Any]]:
    runs = []
    for kind, path in bodies.items():
        wrk.post(f"{server.url}/predict", path, connections=max(WORKERS), seconds=WARM_SECONDS)
        runs += [_run(server, kind, path, connections=count, seconds=seconds) for count in CONNECTIONS]
    return runs


def _run(
    server: Server, kind: str, bodies: Path, *, connections: int, seconds: float, rate: float = 0.0
) -> dict[str, Any]:
    server.settle()  # wrk leaves requests behind when its time is over
    before = server.cpu_seconds()
    found = wrk.post(f"{server.url}/predict", bodies, connections=connections, seconds=seconds, rate=rate)
    cpu_ms = 1000 * (server.cpu_seconds() - before) / found.answers
    asked = {"kind": kind, "connections": connections, "rate": rate}
    return {
        **asked,
        **asdict(found),
        "per_second": found.per_second,
        "cpu_ms": cpu_ms,
    }


def fastest_run(runs: Sequence[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The run of a kind with the most answers in a second, of those without a given rate."""
    return max(
        (run for run in runs if run["kind"] == kind and not run["rate"]), key=lambda run: run["per_second"]
    )


# Services


def _our_service(job: Job, workers: int, service: str) -> AbstractContextManager[Server]:
    port = free_port()
    settings = {"SERVE_PORT": str(port), "SERVE_WORKERS": str(workers), "SERVE_SERVICES": service}
    registered.use(registered.state_of(job))
    command = [_python(SERVING, "serving"), "-m", "mlops.serving"]
    return running(command, port, settings, job.folder, "/readyz")


def _course_service(job: Job, workers: int) -> AbstractContextManager[Server]:
    port = free_port()
    command = [
        _python(PEERS, "bench"), "-m", "gunicorn", "--chdir", SCRIPTS, "--bind", f"{HOST}:{port}",
        "--workers", workers, "course_service:app",
    ]  # fmt: skip
    model = {"COURSE_MODEL": job.before[registered.COURSE_CELL].folder}
    return running(command, port, model, job.folder, "/predict")  # 405: it answers


def _constant_service(job: Job) -> AbstractContextManager[Server]:
    port = free_port()
    command = [
        _python(SERVING, "serving"), "-m", "uvicorn", "--app-dir", SCRIPTS, "--host", HOST, "--port", port,
        "--log-level", "warning", "--no-access-log", "constant_answer:app",
    ]  # fmt: skip
    return running(command, port, {}, job.folder, "/")


def _python(environment: Path, target: str) -> Path:
    python = environment / "bin" / "python"
    if not python.is_file():
        raise FileNotFoundError(
            f"{environment.name} does not exist; `make .venv-{target}/installed` builds it"
        )
    return python


# What is asked


def _our_bodies(job: Job, test: str) -> dict[str, Path]:
    return _bodies(job, test, {name: name for name in data.REQUEST_COLUMNS})


def _course_bodies(job: Job, test: str) -> dict[str, Path]:
    return _bodies(job, test, COURSE_COLUMNS)


def _bodies(job: Job, test: str, columns: Mapping[str, str]) -> dict[str, Path]:
    """A file of bodies for each of `KINDS`: trips of the test month, with the names that the service knows."""
    requests, _ = ours.requests_and_minutes(data.clean_path(job, test))
    table = requests.head(LISTS * LISTED)[list(columns.values())].set_axis(list(columns), axis=1)
    trips = json.loads(table.to_json(orient="records", date_format="iso", date_unit="s"))
    lists = [trips[start : start + LISTED] for start in range(0, len(trips), LISTED)]
    return {
        "one": wrk.write_bodies(job.folder / "one.jsonl", trips[:SINGLES]),
        "list": wrk.write_bodies(job.folder / "list.jsonl", lists),
    }


# Report


def section(bench: Bench, results: Results) -> Section:
    """Our rate and waiting times compared with the course's, and the parts of an answer of ours."""
    rows, table = [], []
    for workers in WORKERS:
        names = (cell_name("ours", workers), cell_name("course", workers))
        mine, theirs = (values_of(results, name) for name in names)
        for kind in KINDS:
            rows += _rows(kind, workers, mine, theirs, results)
        for side, found in (("ours", mine), ("course", theirs)):
            table += [] if found is None else [_line(side, workers, run, found) for run in found["runs"]]
    parts = _parts(results)
    return Section((*rows, *parts[0]), (_table(table), parts[1]))


def _rows(
    kind: str, workers: int, mine: dict[str, Any] | None, theirs: dict[str, Any] | None, results: Results
) -> list[Row]:
    asked = f"service, {KINDS[kind]}, {workers} worker{'s' if workers > 1 else ''}"
    whats = (
        f"{asked}: our highest rate divided by the course's",
        f"{asked}: our p99 at the course's highest rate divided by the course's",
    )
    goals = ("at least 1", "at most 1")
    if mine is None or theirs is None:
        names = (cell_name("course", workers), cell_name("ours", workers))
        return [not_measured(*pair, results, *names) for pair in zip(whats, goals, strict=True)]
    fastest, their_fastest = fastest_run(mine["runs"], kind), fastest_run(theirs["runs"], kind)
    times = fastest["per_second"] / their_fastest["per_second"]
    (same_rate,) = (run for run in mine["runs"] if run["kind"] == kind and run["rate"])
    waits = same_rate["p99_us"] / their_fastest["p99_us"]
    rates = f"{times:.2f} ({fastest['per_second']:,.0f} and {their_fastest['per_second']:,.0f} in a second)"
    p99s = f"{waits:.2f} ({same_rate['p99_us'] / 1e3:.1f} and {their_fastest['p99_us'] / 1e3:.1f} ms)"
    is_kept = same_rate["per_second"] >= KEPT_SHARE * same_rate["rate"]
    if not is_kept:  # requests were sent later than planned, so their waiting times are too short
        p99s = (
            f"ours did not keep this rate: {same_rate['per_second']:,.1f} of {same_rate['rate']:,.1f} answers in "
            f"a second; then {p99s}"
        )
    return [Row(whats[0], goals[0], rates, times >= 1), Row(whats[1], goals[1], p99s, is_kept and waits <= 1)]


def _line(side: str, workers: int, run: dict[str, Any], found: dict[str, Any]) -> tuple[str, ...]:
    rate = f"{run['rate']:,.0f} in a second" if run["rate"] else "as many as possible"
    waits = (f"{run[name] / 1e3:.1f}" for name in ("p50_us", "p95_us", "p99_us"))
    return (
        side, str(workers), KINDS[run["kind"]], str(run["connections"]), rate, f"{run['per_second']:,.1f}", *waits,
        f"{run['cpu_ms']:.2f}", str(run["unanswered"]), f"{found['service_peak_bytes'] / 1e6:,.0f}",
    )  # fmt: skip


def _table(lines: Sequence[tuple[str, ...]]) -> Table:
    header = (
        "service", "workers", "asked", "connections", "sent", "answers/s", "p50, ms", "p95, ms", "p99, ms",
        "CPU, ms each", "no answer", "peak, MB",
    )  # fmt: skip
    note = (
        "wrk on the same cores, trips of the last test month. Each worker computes with one thread. Course: its "
        "service for single rides, written from its description (DictVectorizer and predict for each request, "
        "Flask, gunicorn), and a list answered in the same way. It answers minutes only, ours with ranges. CPU "
        "time and peak memory are the sum over the service's processes, without wrk."
    )
    return Table("Services under load", header, tuple(lines), note)


def _parts(results: Results) -> tuple[list[Row], Table]:
    """CPU time of an answer of ours by part; what is neither HTTP nor trees is the rest."""
    whole_cell, rows, lines = cell_name("ours", WORKERS[0]), [], []
    parts, whole = values_of(results, PARTS_CELL), values_of(results, whole_cell)
    for kind, asked in KINDS.items():
        what = f"service, {asked}: what an answer costs"
        if parts is None or whole is None:
            rows.append(not_measured(what, "", results, PARTS_CELL, whole_cell))
            continue
        at = (kind, PARTS_CONNECTIONS, 0)
        (total,) = (
            run["cpu_ms"] for run in whole["runs"] if (run["kind"], run["connections"], run["rate"]) == at
        )
        http, trees = parts["http"][kind], parts["trees"][kind]
        costs = {"HTTP": http, "model": trees, "JSON, checks and the rest": total - http - trees}
        shares = ", ".join(f"{name} {cost / total:.0%}" for name, cost in costs.items())
        rows.append(Row(what, "", f"{total:.2f} ms of CPU: {shares}"))
        lines.append((asked, *(f"{cost:.3f}" for cost in (total, *costs.values()))))
    header = ("asked", "whole, CPU ms", "HTTP", "model", "JSON, checks and the rest")
    note = (
        f"One worker, {PARTS_CONNECTIONS} connections. HTTP: an app that reads the request and answers a constant "
        "of the same size, under the same server. Model: `predict_one`, or `predict` for the list, alone. The "
        "rest is the difference: JSON, checks, metrics and the request log."
    )
    return rows, Table("What an answer of our service costs", header, tuple(lines), note)
