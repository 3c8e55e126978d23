"""The report: Markdown and a plot for people, JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.cells import Result, Results, last_line
from benchmarks.machine import machine, packages
from benchmarks.plan import Bench
from benchmarks.sections import Section, estimate

REACHED = {True: "yes", False: "**no**", None: ""}


def write(
    folder: Path, name: str, bench: Bench, sections: Sequence[Section], results: Results, began: float
) -> str:
    """Write the report to `folder` as Markdown, JSON and, if there are points, a plot; return the Markdown.

    `began` is the start of the command, in seconds since 1970.
    """
    folder.mkdir(parents=True, exist_ok=True)
    points: dict[str, Any] = {}
    for section in sections:
        points |= section.points
    picture = plot(folder / f"{name}.png", points)
    conditions = about(bench) | {"duration": duration(results, began)} | others(results)
    text = markdown(conditions, sections, results, picture.name if picture else None)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    content = {
        "about": conditions,
        "rows": [asdict(row) for section in sections for row in section.rows],
        "cells": {cell: _kept(result) for cell, result in sorted(results.items())},
    }
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return text


def about(bench: Bench) -> dict[str, str]:
    """The conditions of the measurement: machine, versions, date, months."""
    months = f"{bench.service} {bench.months[0]} to {bench.months[-1]}"
    source = "the sample, a synthetic city" if bench.is_sample else "TLC's months"
    return {
        "machine": machine(),
        "packages": packages(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "months": f"{months}, {source}; tested on {', '.join(bench.test_months)}",
        "profile": bench.profile.name,
    }


def duration(results: Results, began: float) -> str:
    """How long the command ran, and the time in its measurements; those that an earlier one made are apart."""
    now = [result.seconds for result in results.values() if result.measured_at >= began]
    before = [result.seconds for result in results.values() if result.seconds and result.measured_at < began]
    whole = f"the whole command {_minutes(time.time() - began)}"
    text = f"{whole}, of these {_minutes(sum(now))} in {len(now)} measurements"
    return (
        f"{text}; {len(before)} more, of {_minutes(sum(before))}, are from earlier runs" if before else text
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"


def others(results: Results) -> dict[str, str]:
    """How busy the machine was with other work; the busier, the less reliable is wall time."""
    known = [(r.others, r.seconds) for r in results.values() if r.others is not None and not r.error]
    total = sum(seconds for _, seconds in known)
    if not total:
        return {}
    cores = sum(others * seconds for others, seconds in known) / total
    return {"others": f"on average, {cores:.1f} cores were busy with other work during the measurement"}


def markdown(
    conditions: Mapping[str, str], sections: Sequence[Section], results: Results, picture: str | None
) -> str:
    """The whole report as Markdown."""
    lines = ["# Benchmark", ""]
    lines += [f"- {name}: {value}" for name, value in conditions.items()]
    rows = [row for section in sections for row in section.rows]
    if rows:
        cells = tuple((row.what, row.goal, row.figure, REACHED[row.reached]) for row in rows)
        lines += ["", *_table(("what", "goal", "figure", "reached"), cells)]
    if picture:
        lines += ["", f"![RMSE by contender; time and memory by rows]({picture})"]
    for table in (table for section in sections for table in section.tables if table.rows):
        lines += ["", f"## {table.title}", "", *_table(table.header, table.rows)]
        lines += ["", table.note] if table.note else []
    failures = [result for result in results.values() if result.error]
    if failures:
        reasons = tuple((result.name, last_line(result.error)) for result in failures)
        lines += ["", "## Failed cells", "", *_table(("cell", "reason"), reasons)]
    return "\n".join(lines) + "\n"


def plot(target: Path, points: dict[str, Any]) -> Path | None:
    """Write a PNG with the test RMSE by contender, and with time and memory of the matrix by rows."""
    contenders, matrix = points.get("contenders", {}), points.get("matrix", [])
    if not contenders and not matrix:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    ordered = sorted(contenders.items(), key=lambda item: -mean(item[1]))
    for place, (name, rmses) in enumerate(ordered):
        found = estimate(rmses)
        ours = name.startswith("ours")
        left.errorbar(
            found.mean, place, xerr=found.half_width if found.count > 1 else None, fmt="o", capsize=3,
            color="tab:red" if ours else "tab:gray",
        )  # fmt: skip
    left.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    left.set_xlabel("test RMSE, minutes (mean and 95 % interval over months and seeds)")
    if matrix:
        rows = [point[0] / 1e6 for point in matrix]
        right.plot(rows, [point[1] for point in matrix], "o-", color="tab:red")
        right.set_xlabel("million rows")
        right.set_ylabel("seconds from files to matrix, one thread", color="tab:red")
        memory = right.twinx()
        memory.plot(rows, [point[2] / 1e9 for point in matrix], "s--", color="tab:gray")
        memory.set_ylabel("peak memory, GB", color="tab:gray")
        for axes in (right, memory):
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
    figure.savefig(target, dpi=110)
    return target


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    return [lines[0], f"|{' --- |' * len(header)}", *lines[1:]]


def _kept(result: Result) -> dict[str, Any]:
    """A result without folder names of the machine."""
    values = {name: value for name, value in result.values.items() if name not in ("raw", "clean")}
    measured = {
        "seconds": round(result.seconds, 2),
        "cpu_seconds": round(result.cpu_seconds, 2),
        "peak_bytes": result.peak_bytes,
        "others": None if result.others is None else round(result.others, 2),
    }
    return {"error": last_line(result.error)} if result.error else {"values": values, **measured}
