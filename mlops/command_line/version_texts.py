"""Versions, alias moves and champions as texts for people, made from the records of the registry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from mlops.command_line.layout import HEADER, QUIET, cleaned, shortened, wrapped
from mlops.command_line.printing import print_lines, print_table, print_text, utc, width
from mlops.registry import alias_log
from mlops.registry.listings import lost_words
from mlops.registry.overrides import how_overridden
from mlops.registry.records import (
    AliasMove,
    ChampionDetails,
    ChampionsOfDay,
    ListedVersion,
    MetricRow,
    ModelListing,
    ModelSummary,
    OverriddenVerdict,
    Page,
    Tenure,
    UsedFile,
    WaitingVersion,
)

MOVES_SHOWN: Final = 10
HASH_SHOWN: Final = 12  # digits
STYLES: Final = {
    "promote": "green", "keep": "yellow", "refuse": "red", "unreadable": "red", "failed": "red",
    "champion": "bold green",
}  # fmt: skip
NOTE: Final = "bold yellow"


def print_listing(found: ModelListing) -> None:
    """Print versions, newest first, each with its reason and who overrode it; then the last alias moves."""
    shown = found.moves[-MOVES_SHOWN:]
    if found.versions:
        print_text(found.model, HEADER)
        unused = () if any(version.is_forced for version in found.versions) else ("forced",)
        rows = [_version_row(version) for version in found.versions]
        print_table(
            [{name: cell for name, cell in row.items() if name not in unused} for row in rows],
            right=("version", "rmse"),
            least=("trained on", "forced"),
            below=("reason", "override"),
        )
    else:
        print_text(f"{found.model}: no version is registered{' now' if shown else ' yet'}")
    if shown:
        last = f"the last {len(shown)} of {len(found.moves)}, " if len(shown) < len(found.moves) else ""
        print_lines([Text(), cleaned(f"alias moves, {last}newest last:", HEADER)])
        print_lines(line for move in shown for line in _move_lines(move))
    if found.versions:
        print_lines([page_line(found.page)])
    lost = [lost_words(found.lost_champion)] if found.lost_champion else []
    _print_notes([*found.differences, *lost, *_proofs(shown)], found.waiting)


def print_champion(found: ChampionDetails) -> None:
    """Print a champion's months, its metrics beside the baseline's, and how to load it."""
    version = found.version
    trips = "" if found.test_trips is None else f"{found.test_trips:,} trips of "
    print_text(
        f"{found.model}: champion is {version.uri}, trained on {_trained_on(version)}, tested on "
        f"{trips}{version.test_month or '?'}"
    )
    if found.since is not None and found.age_days is not None:
        print_text(f"champion since {utc(found.since)} ({_days(found.age_days)})")
    print_lines([Text()])
    rows = [_metric_row(row) for row in found.metrics]
    print_table(rows, right=tuple(rows[0]))
    print_lines([Text(), cleaned(f"load it: {found.load}", whole=True)])
    if found.metrics_unknown:
        print_text(f"its other metrics are unknown: {found.metrics_unknown}")
    print_lines([page_line(found.page)])
    override = [override_words(version.override)] if version.override else []
    _print_notes([*override, *found.differences], found.waiting)


def print_summaries(found: Sequence[ModelSummary]) -> None:
    """Print a line for each model, and below them what a person should know or do."""
    _print_summary_table(found)
    for summary in found:
        notes = [override_words(summary.override)] if summary.override else []
        notes += [
            *summary.differences,
            *([lost_words(summary.lost_champion)] if summary.lost_champion else []),
        ]
        _print_notes(notes, summary.waiting, f"{summary.model}: ")


def print_only(summary: ModelSummary, champion: ChampionDetails) -> None:
    """Print the line of the only model, and then its champion."""
    _print_summary_table([summary])
    print_lines([Text()])
    print_champion(champion)


def print_champions_of(found: ChampionsOfDay) -> None:
    """Print which versions were champion on a day, how they became it, and their files."""
    if not found.champions:
        first = found.first_champion_since
        since = f"; the first champion dates from {utc(first)}" if first else ""
        print_text(f"{found.model}: no version was champion on {found.as_of} (UTC){since}")
    for place, tenure in enumerate(found.champions):
        print_lines([Text()] if place else [])
        _print_tenure(found.model, tenure)


def _print_tenure(model: str, tenure: Tenure) -> None:
    if tenure.number is None:
        print_text(f"{model}: no champion since {utc(tenure.since)}")
        return
    since = f"{'noticed at' if tenure.is_noticed else 'since'} {utc(tenure.since)}"
    until = utc(tenure.until) if tenure.until else "now"
    print_text(f"{model}: version {tenure.number} ({since}; until {until}), {tenure.move}", HEADER)
    if tenure.override:
        print_text(override_words(tenure.override))
    version = tenure.version
    if version is None:
        print_text("this version has been deleted since")
        return
    rmse = _number(version.rmse_minutes) or "?"
    print_text(f"trained on {_trained_on(version)}, tested on {version.test_month or '?'}: RMSE {rmse}")
    if tenure.files_unknown:
        print_text(f"its files are unknown: {tenure.files_unknown}")
    else:
        _print_files(tenure.files, version.run_id)


def _print_files(files: Sequence[UsedFile], run_id: str) -> None:
    rows: list[dict[str, str | Text]] = [
        {
            "month": file.month,
            "role": file.role or "",
            "rows": "" if file.rows is None else str(file.rows),
            "sha256": (file.sha256 or "")[:HASH_SHOWN],
            "url": cleaned(file.url or "", whole=True),
        }
        for file in files
    ]
    print_table(rows, right=("rows",))
    print_text(f"full table of these files: months.csv among the artefacts of run {run_id}")


def page_line(page: Page) -> Text:
    """Where a person sees a page of MLflow; never cut."""
    shown = f"`{page.command}` shows it at {page.address}" if page.command else page.address
    return cleaned(f"its page: {shown}", whole=True)


def override_words(override: OverriddenVerdict) -> str:
    """Who made a version champion against its verdict, when and why."""
    how = how_overridden(override.verdict)
    return f"made champion {how}, by {override.by} on {utc(override.at)} ({override.move}): {override.reason}"


def _print_notes(notes: Sequence[str], waiting: WaitingVersion | None, about: str = "") -> None:
    """Print what a person must know or do, a paragraph for each that begins with `about`."""
    for note in notes:
        _print_note(f"{about}{note}")
    if waiting:
        _print_note(
            f"{about}version {waiting.number} waits for approval since {utc(waiting.since)}: {waiting.why}. "
            "To make it champion, give it the alias champion in MLflow's page, or:"
        )
        print_lines([shortened(cleaned(waiting.command, whole=True), None, indent=6)])


def _print_note(said: str) -> None:
    text = cleaned(f"NOTE: {said}")
    text.stylize(NOTE, 0, len("NOTE:"))
    print_text(text, indent=6)


def _version_row(version: ListedVersion) -> dict[str, str | Text]:
    aliases = cleaned(", ".join(version.aliases))
    aliases.highlight_words(["champion"], STYLES["champion"])
    verdict = f"{version.verdict}, overridden" if version.override else version.verdict
    return {
        "version": version.number,
        "aliases": aliases,
        "forced": "yes" if version.is_forced else "",
        "tested on": version.test_month or "",
        "trained on": _trained_on(version),
        "rmse": _number(version.rmse_minutes),
        "verdict": cleaned(verdict, STYLES.get(version.verdict, "")),
        "verified": cleaned(version.verified or "", STYLES.get(version.verified or "", "")),
        "reason": cleaned(version.reason, QUIET),
        "override": cleaned(override_words(version.override), wraps=True) if version.override else "",
    }


def _move_lines(move: AliasMove) -> list[Text]:
    """A move on one line; on a narrow terminal, with its reason and perhaps its author on a second line."""
    room = width()
    moved = f"{move.alias} {move.before or 'none'} -> {move.after or 'none'}"
    marks = (move.state, alias_log.FORGED if move.proof == alias_log.FORGED else alias_log.DONE)
    state = "".join(f" [{mark}]" for mark in marks if mark != alias_log.DONE)
    by = re.sub(r"(?<=run \w{8})\w+", "", move.by)  # eight digits are enough to find a run
    verdict = f"{move.verdict}, {how_overridden(move.overrides)}" if move.overrides else move.verdict
    what = Text("  ", end="").join(map(cleaned, ("", utc(move.at), f"{moved}{state}", verdict)))
    by_whom = Text.assemble(what, " (", cleaned(by), "):", end="")
    whole = Text.assemble(by_whom, " ", cleaned(move.reason), end="")
    if room is None or whole.cell_len <= room:
        return [whole]
    if by_whom.cell_len <= room:
        return [by_whom, shortened(move.reason, room, indent=6)]
    return [*wrapped(what, room, indent=4), shortened(f"{by}: {move.reason}", room, indent=6)]


def _proofs(shown: Sequence[AliasMove]) -> Iterator[str]:
    """What a person must know about moves that are not signed."""
    if any(move.proof == alias_log.FORGED for move in shown):
        yield (
            "a move marked [forged] has no signature of this machine's key: somebody wrote or changed it, or "
            "another machine with another registry.key did. It counts for nothing"
        )
    before = sum(move.proof == alias_log.BEFORE for move in shown)
    if before:
        yield f"the {before} oldest of these moves are not signed: a release before 2026-12 wrote them"


def _print_summary_table(found: Sequence[ModelSummary]) -> None:
    print_table([_summary_row(summary) for summary in found], right=("rmse",), least=("rmse", "tested on"))


def _summary_row(summary: ModelSummary) -> dict[str, str | Text]:
    age = "" if summary.champion_age_days is None else f" ({_days(summary.champion_age_days)})"
    newest = f"{summary.newest}: {summary.newest_verdict}" if summary.newest else ""
    return {
        "model": summary.model,
        "champion": f"{summary.champion}{age}" if summary.champion else "none",
        "tested on": summary.test_month or "",
        "rmse": _number(summary.rmse_minutes),
        "newest": cleaned(newest, STYLES.get(summary.newest_verdict or "", "")),
        "next month": summary.next_month or "",
    }


def _metric_row(row: MetricRow) -> dict[str, str]:
    return {
        "metric": row.metric,
        "validation": _number(row.validation),
        "test": _number(row.test),
        "pair median (test)": _number(row.pair_median_test),
    }


def _trained_on(version: ListedVersion) -> str:
    return f"{version.first_month_learnt or '?'} to {version.last_month_learnt or '?'}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _days(count: int) -> str:
    return f"{count} day{'' if count == 1 else 's'}"
