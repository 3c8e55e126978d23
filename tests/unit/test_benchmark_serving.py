"""The benchmark of use: the load generator, servers under measurement, the course's side, and what is reported."""

from __future__ import annotations

import http.server
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks import __main__ as command
from benchmarks import course_batch, data, load, plan, registered, scored, servers, wrk
from benchmarks.cells import Cell, Job, Result, Results, cell_key
from benchmarks.plan import FULL, QUICK, Bench, bench_of
from mlops.data import trips
from mlops.data.synthetic.source import write_month
from mlops.month import Month

MONTHS = tuple(str(month) for month in Month.range(Month(2023, 1), Month(2023, 10)))
BENCH = bench_of(FULL, "folder", MONTHS)
LINE = {
    "answers": 400, "seconds": 2.0, "p50_us": 900, "p95_us": 1200, "p99_us": 1500, "refused": 0, "unanswered": 0,
}  # fmt: skip
with_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


def the_cells(bench: Bench) -> list[Cell]:
    return command.cells_of(bench, command.SERVED)


# wrk


def test_the_figures_are_the_last_line_of_what_wrk_prints() -> None:
    found = wrk.figures(f"Running 2s test @ http://127.0.0.1:1/\n  1 threads\n{json.dumps(LINE)}\n")

    assert found == wrk.Figures(**LINE)
    assert found.per_second == 200


@pytest.mark.parametrize("output", ["", "unable to connect", "[]", json.dumps({"answers": 3})])
def test_output_without_figures_is_refused(output: str) -> None:
    with pytest.raises(RuntimeError, match=r"wrk: expected answers, seconds, .* as JSON; got "):
        wrk.figures(output)


def test_a_run_without_answers_is_refused() -> None:
    with pytest.raises(RuntimeError, match="expected answers; got none, and 8 requests without an answer"):
        wrk.figures(json.dumps(LINE | {"answers": 0, "unanswered": 8}))


def test_a_machine_without_wrk_is_told_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match="wrk is not installed; Debian and Ubuntu have it as package wrk"
    ):
        wrk.post("http://127.0.0.1:1/", tmp_path / "bodies", connections=1, seconds=1)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with a status, and remembers what came."""

    protocol_version = "HTTP/1.1"
    status = 200
    came: list[tuple[str, str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.came.append((self.headers["Content-Type"], body))
        self.send_response(self.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Without output."""


@pytest.fixture
def server() -> Iterator[tuple[type[Handler], str]]:
    class Own(Handler):
        """With requests of its own."""

    Own.came = []
    with http.server.ThreadingHTTPServer((servers.HOST, 0), Own) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield Own, f"http://{servers.HOST}:{found.server_port}/predict"
        found.shutdown()
        thread.join()


@with_wrk
def test_bodies_are_posted_in_turn_at_the_given_rate(
    server: tuple[type[Handler], str], tmp_path: Path
) -> None:
    handler, url = server
    bodies = wrk.write_bodies(tmp_path / "bodies", [{"zone": 1}, {"zone": 2}])

    found = wrk.post(url, bodies, connections=2, seconds=1, rate=20)

    assert 14 <= found.answers <= 26
    assert 0 < found.p50_us <= found.p95_us <= found.p99_us
    assert found.unanswered == 0
    texts = {text for _, text in handler.came}
    assert texts == {'{"zone": 1}', '{"zone": 2}'}
    assert {kind for kind, _ in handler.came} == {"application/json"}


@with_wrk
def test_refused_requests_are_no_measurement(server: tuple[type[Handler], str], tmp_path: Path) -> None:
    handler, url = server
    handler.status = 422
    bodies = wrk.write_bodies(tmp_path / "bodies", [{}])

    with pytest.raises(
        RuntimeError, match=r"/predict: expected answers with a status below 400; got (\d+) others"
    ):
        wrk.post(url, bodies, connections=1, seconds=1, rate=20)


# Servers


def test_a_server_is_measured_and_ended(tmp_path: Path) -> None:
    port = servers.free_port()
    serve = [sys.executable, "-m", "http.server", "--bind", servers.HOST, port]

    with servers.running(serve, port, {}, tmp_path, "/") as found:
        process = found.process
        assert found.cpu_seconds() > 0
        assert found.peak_bytes() > 5e6
        assert process.poll() is None

    assert process.poll() is not None
    assert "GET / HTTP" in (tmp_path / "server.log").read_text()


def test_a_server_that_does_not_start_shows_its_output(tmp_path: Path) -> None:
    fails = [sys.executable, "-c", "print('no model', flush=True); raise SystemExit(3)"]

    with (
        pytest.raises(
            RuntimeError, match="expected an answer to GET /readyz; it ended with status 3: no model"
        ),
        servers.running(fails, servers.free_port(), {}, tmp_path, "/readyz"),
    ):
        pass


# Cells


def test_the_cells_depend_on_earlier_ones_and_take_less_than_a_quarter_of_an_hour() -> None:
    for profile in plan.PROFILES.values():
        cells = the_cells(bench_of(profile, "folder", MONTHS))
        names = [cell.name for cell in cells]
        assert len(set(names)) == len(names)
        for place, cell in enumerate(cells):
            assert set(cell.after) <= set(names[:place])
    assert sum(cell.expected_seconds for cell in the_cells(BENCH)) < 15 * 60


def test_every_call_exists() -> None:
    for cell in the_cells(BENCH):
        assert cell_key(replace(cell, after=(), inputs=()), {})


def test_the_report_of_use_is_one_of_its_own() -> None:
    assert command._report("serve") == ("serving", command.SERVED, command.SERVED)
    assert command._report("ablate")[0] == "ablations"
    assert command._report("all") == ("results", command.SECTIONS, command.MEASURED)


def test_what_is_measured_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["serve", "--source", "sample", "--list", "--only", "load/course*"]) == 0
    assert capsys.readouterr().out.splitlines() == ["load/course, 1 worker", "load/course, 2 workers"]


# The course's side


@pytest.fixture(scope="module")
def course_job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A cell with two tiny months, with the course's model in its folder."""
    folder, before = tmp_path_factory.mktemp("course"), {}
    for month in MONTHS[:2]:
        raw = write_month(folder / f"green_tripdata_{month}.parquet", "green", Month.parse(month), rows=300)
        clean = folder / f"{month}.parquet"
        trips.clean_file(raw, "green", Month.parse(month), clean)
        name = data.month_cell(month)
        before[name] = Result(name, "", "", {"raw": str(raw), "clean": str(clean)})
    job = Job(folder, 1, 0.0, before)
    registered.fit_course(job, MONTHS[:2])
    return job


def test_the_course_s_batch_has_the_predictions_of_its_recipe(course_job: Job) -> None:
    from mlops.training.baselines import CourseRecipe, read_trips

    target, month = course_job.folder / "scored.parquet", MONTHS[1]
    model = course_batch.read_model(course_job.folder, threads=1)
    rows = course_batch.score_file(data.raw_path(course_job, month), target, *model)

    found = pq.read_table(target).to_pandas()
    trips_of_month = read_trips(data.clean_path(course_job, month))
    expected = CourseRecipe(*model).predict(trips_of_month)
    assert rows == len(found) == len(expected) > 200
    # The file has its own order; the clean trips are sorted by the pickup.
    assert np.sort(found["predicted_duration"]) == pytest.approx(np.sort(expected), abs=1e-4)
    assert found["actual_duration"].between(1, 60).all()


def test_the_peers_xgboost_gets_the_base_score_as_a_number(course_job: Job) -> None:
    written = json.loads((course_job.folder / "booster.json").read_text())
    assert 1 < float(written["learner"]["learner_model_param"]["base_score"]) < 60


def test_both_services_are_asked_about_the_same_trips(course_job: Job) -> None:
    ours = {
        kind: path.read_text().splitlines() for kind, path in load._our_bodies(course_job, MONTHS[0]).items()
    }
    theirs = {
        kind: path.read_text().splitlines()
        for kind, path in load._course_bodies(course_job, MONTHS[0]).items()
    }

    mine, course = json.loads(ours["one"][0]), json.loads(theirs["one"][0])
    assert list(mine) == data.REQUEST_COLUMNS
    assert mine["pickup_at"].startswith("2023-01-")
    assert course == {
        "PULocationID": mine["pickup_zone"],
        "DOLocationID": mine["dropoff_zone"],
        "trip_distance": mine["distance_miles"],
    }
    assert [len(ours[kind]) for kind in load.KINDS] == [len(theirs[kind]) for kind in load.KINDS]
    assert json.loads(ours["list"][0])[0] == mine


# What is reported


def a_run(kind: str, connections: int, per_second: float, p99_ms: float, rate: float = 0.0) -> dict[str, Any]:
    waits = {"p50_us": 200 * p99_ms, "p95_us": 500 * p99_ms, "p99_us": 1000 * p99_ms}
    cost = {"per_second": per_second, "cpu_ms": 1000 / per_second, "unanswered": 0}
    return {"kind": kind, "connections": connections, "rate": rate, **waits, **cost}


def load_results(p99_at_rate: float = 10.0, kept: float = 1.0) -> Results:
    """Both services with one worker, and the parts of ours."""
    theirs, mine = [], []
    for kind, slower in (("one", 1.0), ("list", 20.0)):
        theirs += [a_run(kind, 1, 200 / slower, 5 * slower), a_run(kind, 8, 250 / slower, 40 * slower)]
        mine += [a_run(kind, 1, 400 / slower, 4 * slower), a_run(kind, 8, 500 / slower, 30 * slower)]
        mine.append(a_run(kind, 8, kept * 250 / slower, p99_at_rate * slower, rate=250 / slower))
    parts = {"http": {"one": 0.2, "list": 4.0}, "trees": {"one": 1.2, "list": 26.0}}
    values = {
        load.cell_name("course", 1): {"runs": theirs, "service_peak_bytes": 300e6},
        load.cell_name("ours", 1): {"runs": mine, "service_peak_bytes": 450e6},
        load.PARTS_CELL: parts,
    }
    return {name: Result(name, "", "", each) for name, each in values.items()}


def rows_of(section: Any) -> dict[str, tuple[str, bool | None]]:
    return {row.what: (row.figure, row.reached) for row in section.rows}


def test_the_service_is_compared_at_its_best_and_at_the_course_s_rate() -> None:
    found = rows_of(load.section(BENCH, load_results()))

    asked = "service, one request, 1 worker: our"
    assert found[f"{asked} highest rate divided by the course's"] == ("2.00 (500 and 250 in a second)", True)
    waits = f"{asked} p99 at the course's highest rate divided by the course's"
    assert found[waits] == ("0.25 (10.0 and 40.0 ms)", True)
    slow = rows_of(load.section(BENCH, load_results(p99_at_rate=60.0)))
    assert slow[waits] == ("1.50 (60.0 and 40.0 ms)", False)
    late = rows_of(load.section(BENCH, load_results(kept=0.9)))
    figure = "ours did not keep this rate: 225.0 of 250.0 answers in a second; then 0.25 (10.0 and 40.0 ms)"
    assert late[waits] == (figure, False)
    missing = [figure for what, (figure, _) in found.items() if "2 workers" in what]
    assert missing == ["not measured: not run"] * 4


def test_the_cost_of_an_answer_is_split() -> None:
    section = load.section(BENCH, load_results())

    found = rows_of(section)["service, one request: what an answer costs"]
    assert found == ("2.00 ms of CPU: HTTP 10%, model 60%, JSON, checks and the rest 30%", None)
    loads, costs = section.tables
    assert costs.rows[1] == ("list of 1,000", "40.000", "4.000", "26.000", "10.000")
    assert loads.rows[0][:6] == ("ours", "1", "one request", "1", "as many as possible", "400.0")
    assert len(loads.rows) == 10
    assert {len(row) for row in loads.rows} == {len(loads.header)}


def test_a_missing_tool_is_the_reason_in_every_row() -> None:
    error = "Traceback\nFileNotFoundError: wrk is not installed; Debian and Ubuntu have it as package wrk"
    failed = {cell.name: Result(cell.name, "", "", error=error) for cell in the_cells(BENCH)}

    for section in command.SERVED:
        rows = section.section(BENCH, failed).rows
        assert rows
        assert {row.reached for row in rows} == {None}
        assert {row.figure for row in rows} == {f"not measured: {error.splitlines()[1]}"}


def scored_results(digest: str = "a" * 64, speed: float = 65_000.0) -> Results:
    def of(rows: int, speed: float, megabytes: float, **others: Any) -> dict[str, Any]:
        speeds = {"rows_per_cpu_second": speed, "rows_per_second": speed}
        return {"rows": rows, "run_cpu_seconds": 5.0, "peak_bytes": megabytes * 1e6, **speeds, **others}

    values = {
        scored.OURS_CELLS[1]: of(68_000, speed, 430, digest="a" * 64),
        scored.OURS_CELLS[2]: of(68_000, speed, 440, digest=digest),
        scored.COURSE_CELL: of(63_000, 50_000, 400),
        scored.MANY_CELL: of(20_000_000, 90_000, 600),
    }
    return {name: Result(name, "", "", each) for name, each in values.items()}


def test_batch_scoring_is_compared_by_rows_per_cpu_second() -> None:
    section = scored.section(BENCH, scored_results())

    assert list(rows_of(section).values()) == [
        ("1.30", True),
        ("600 MB, 90,000 rows/s with two threads", True),
        ("identical", True),
    ]
    assert section.tables[0].rows[2] == ("course, 1 thread", "63,000", "50,000", "50,000", "5.0", "400")


def test_slow_scoring_and_other_bytes_miss_their_goals() -> None:
    speed, _, same = rows_of(scored.section(BENCH, scored_results("b" * 64, 60_000.0))).values()

    assert speed == ("1.20", False)
    assert same == ("sha256 aaaaaaaa and bbbbbbbb", False)


def test_the_quick_profile_scores_fewer_rows() -> None:
    (what,) = (w for w in rows_of(scored.section(bench_of(QUICK, "folder", MONTHS), {})) if "million" in w)
    assert what == "batch scoring, 1 million rows: peak memory"
