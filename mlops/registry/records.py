"""What the listings of the registry know, as values: for the texts of the command line, and as JSON for programs.

Nothing here imports MLflow. Minutes are minutes of a trip's duration. Times are in UTC. A text that people can
change in MLflow is as they wrote it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _encodable(said: object) -> object:
    """A text without lone surrogates, which JSON in a tag may have and no encoding can write."""
    return said.encode("utf-8", "backslashreplace").decode() if isinstance(said, str) else said


Said = Annotated[str, BeforeValidator(_encodable)]
"""A text that somebody may have written by hand into MLflow."""
Verdict = Literal["promote", "keep", "refuse", "none", "unreadable", "unfinished"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(_Record):
    """Where a person sees more."""

    address: str = Field(description="Address of a page of MLflow.")
    command: str | None = Field(
        description="Command that serves this page, for a store without a server; null if a server does."
    )


class OverriddenVerdict(_Record):
    """A person made a version champion although its verdict is not "promote"."""

    verdict: Said = Field(description="What was overridden: keep, refuse, none or unreadable.")
    at: datetime = Field(description="When, UTC.")
    by: Said = Field(description="Who.")
    move: Said = Field(description="How: by operator, approved, rollback, or by hand in MLflow's pages.")
    reason: Said = Field(description="Why, as that person wrote it.")


class ListedVersion(_Record):
    """A registered version."""

    number: str = Field(description="Number of the version, as MLflow writes it.")
    uri: str = Field(description="What MLflow loads.")
    aliases: tuple[str, ...] = Field(description="Aliases that point at the version, sorted.")
    is_forced: bool = Field(description="Whether it was trained again although its run was registered.")
    first_month_learnt: str | None = Field(description="First month of its training, YYYY-MM.")
    last_month_learnt: str | None = Field(description="Last month of its training, YYYY-MM.")
    test_month: str | None = Field(description="Month that it was tested on, YYYY-MM.")
    rmse_minutes: float | None = Field(
        description="Root mean squared error on the test month; null if unknown."
    )
    verdict: Verdict = Field(
        description="promote, keep or refuse; unfinished: its run has not ended; none: it has no verdict; "
        "unreadable: somebody changed the tag."
    )
    reason: str = Field(description="Why it has this verdict.")
    override: OverriddenVerdict | None = Field(description="Who overrode the verdict; null if nobody did.")
    verified: Literal["passed", "failed"] | None = Field(
        description="Result of its last verification; null if there was none."
    )
    verification: str = Field(
        description="Why the verification failed; empty if it passed or there was none."
    )
    run_id: str = Field(description="Run of MLflow that registered it; empty if another program did.")
    registered_at: datetime | None = Field(description="When it was registered, UTC.")


class AliasMove(_Record):
    """An entry of the journal: a move of an alias."""

    number: int = Field(description="Number of the entry, from 1.")
    at: datetime = Field(description="When, UTC; for a move by hand, when it was noticed.")
    alias: Said = Field(description="champion or challenger.")
    before: Said | None = Field(description="Version that it pointed at before; null for none.")
    after: Said | None = Field(description="Version that it points at since; null for none.")
    verdict: Said = Field(description="promote, by operator, approved, rollback, by hand, ...")
    overrides: Said | None = Field(
        description="Verdict that a person overrode with this move; null for none."
    )
    by: Said = Field(description="Person or run that moved it.")
    reason: Said = Field(description="Why.")
    state: Said = Field(description="done; intent: not finished yet; dropped: it never happened.")
    proof: Literal["signed", "before signatures", "forged"] = Field(
        description="signed; before signatures: an old release wrote it; forged: it counts for nothing."
    )


class WaitingVersion(_Record):
    """A version that waits until a person approves it."""

    number: str = Field(description="Number of the version.")
    since: datetime = Field(description="Since when, UTC.")
    why: str = Field(description="Why it waits.")
    command: str = Field(description="Command that approves it, without the reason that it asks for.")


class LostChampion(_Record):
    """A model had a champion and has none now."""

    since: datetime = Field(description="When this was noticed, UTC.")
    number: Said | None = Field(description="Number of the last champion.")


class ModelListing(_Record):
    """Versions of a model and the moves of its aliases: `registry --json`."""

    model: str = Field(description="Name of the registered model.")
    versions: tuple[ListedVersion, ...] = Field(description="All versions, newest first.")
    moves: tuple[AliasMove, ...] = Field(description="All entries of the journal, oldest first.")
    waiting: WaitingVersion | None = Field(description="The version that waits for approval.")
    lost_champion: LostChampion | None = Field(description="Set if there was a champion and is none now.")
    differences: tuple[str, ...] = Field(
        description="Moves past the journal, made by hand or interrupted, that this command noticed."
    )
    page: Page = Field(description="The model's page.")


class MetricRow(_Record):
    """A metric of the champion. All but r2 are minutes."""

    metric: str = Field(description="rmse, mae, p90, r2 or bias.")
    validation: float | None = Field(description="On the validation month; null if unknown.")
    test: float | None = Field(description="On the test month; null if unknown.")
    pair_median_test: float | None = Field(
        description="Of the baseline, the median of past trips between the same zones, on the test month."
    )


class ChampionDetails(_Record):
    """A model's champion: `show MODEL --json`."""

    model: str = Field(description="Name of the registered model.")
    version: ListedVersion = Field(description="The champion.")
    since: datetime | None = Field(
        description="Since when it is champion, UTC; null if the journal is silent."
    )
    age_days: int | None = Field(description="Full days since then.")
    test_trips: int | None = Field(description="Trips that it was tested on; null if unknown.")
    metrics: tuple[MetricRow, ...] = Field(description="Its metrics, and those of the baseline.")
    metrics_unknown: str | None = Field(description="Why metrics are unknown; null if they are known.")
    load: str = Field(description="Python that loads the champion.")
    waiting: WaitingVersion | None = Field(description="The version that waits for approval.")
    differences: tuple[str, ...] = Field(
        description="Moves past the journal, made by hand or interrupted, that this command noticed."
    )
    page: Page = Field(description="The version's page.")


class ModelSummary(_Record):
    """A model in one line: `show --json` prints a list of these."""

    model: str = Field(description="Name of the registered model.")
    champion: str | None = Field(description="Number of the champion; null if there is none.")
    champion_since: datetime | None = Field(description="Since when it is champion, UTC.")
    champion_age_days: int | None = Field(description="Full days since then.")
    test_month: str | None = Field(description="Month that the champion was tested on, YYYY-MM.")
    rmse_minutes: float | None = Field(description="The champion's error on that month.")
    override: OverriddenVerdict | None = Field(description="Set if it is champion against its verdict.")
    newest: str | None = Field(description="Number of the newest version; null if there is none.")
    newest_test_month: str | None = Field(description="Month that the newest version was tested on, YYYY-MM.")
    newest_verdict: Verdict | None = Field(description="Verdict of the newest version.")
    next_month: str | None = Field(
        description="Month after the newest judged one, YYYY-MM: the next to judge."
    )
    waiting: WaitingVersion | None = Field(description="The version that waits for approval.")
    lost_champion: LostChampion | None = Field(description="Set if there was a champion and is none now.")
    differences: tuple[str, ...] = Field(
        description="Moves past the journal, made by hand or interrupted, that this command noticed."
    )
    page: Page = Field(description="The model's page.")


class UsedFile(_Record):
    """A file of trips that a version was made from."""

    month: str = Field(description="YYYY-MM.")
    role: str | None = Field(description="training, validation or test; null if unknown.")
    rows: int | None = Field(description="Trips in the file; null if unknown.")
    sha256: str | None = Field(description="Of the file.")
    url: str | None = Field(description="Where it came from; null if unknown.")


class Tenure(_Record):
    """The time during which one version was champion, or none was."""

    number: Said | None = Field(description="Number of the version; null for a time without champion.")
    since: datetime = Field(description="UTC.")
    until: datetime | None = Field(description="UTC; null if it is champion now.")
    is_noticed: bool = Field(
        description="Whether `since` is when a move by hand was noticed: it began before."
    )
    move: Said = Field(description="How it became champion: promote, by operator, rollback, by hand, ...")
    override: OverriddenVerdict | None = Field(description="Set if it was champion against its verdict.")
    version: ListedVersion | None = Field(description="What the registry has; null if it was deleted since.")
    files: tuple[UsedFile, ...] = Field(description="Files of its training and test, by month.")
    files_unknown: str | None = Field(description="Why the files are unknown; null if they are known.")


class ChampionsOfDay(_Record):
    """Champions of a day, or of a moment: `registry --as-of DATE --json`."""

    model: str = Field(description="Name of the registered model.")
    as_of: str = Field(description="The day or time, as it was given.")
    start: datetime = Field(description="Start of that day, or the moment, UTC.")
    champions: tuple[Tenure, ...] = Field(
        description="In the order of time; empty if no version was champion."
    )
    first_champion_since: datetime | None = Field(
        description="When the first champion of all began, UTC; null if there was never one."
    )


class TriedExperiment(_Record):
    """A run of an experiment: `experiments --json` prints a list of these, newest first."""

    name: str = Field(description="Name of the experiment.")
    model: str = Field(description="Registered model with whose champion it was compared.")
    note: str = Field(description="What it tries; empty if nothing was said.")
    status: str = Field(description="Of the run: FINISHED, RUNNING, FAILED or KILLED.")
    at: datetime = Field(description="When it started, UTC.")
    test_month: str | None = Field(description="YYYY-MM; null if it ended before it logged its settings.")
    rmse_minutes: float | None = Field(description="Error on the test month; null if unknown.")
    champion: str | None = Field(description="Version that it was compared with; null if there was none.")
    champion_rmse_minutes: float | None = Field(description="Error of the champion on the same trips.")
    verdict: str | None = Field(description="promote, keep or refuse; null if it has none.")
    reason: str = Field(description="Why it has this verdict.")
    differs: str = Field(description="What differs from the champion's run.")
    run_id: str = Field(description="Run of MLflow.")
    page: Page = Field(description="The run's page.")
