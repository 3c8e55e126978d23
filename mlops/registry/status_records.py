"""What an operator must know of models, servers and disk, as values. The command line and the service show them.

Nothing here imports MLflow, which takes seconds. Times are UTC, errors are in minutes, months are YYYY-MM.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal[
    "no_champion", "service_down", "champion_unsigned", "other_version", "disk_low", "failed",
    "check_failed", "pending", "monitoring_alarm", "nothing_trained", "approval", "overdue", "check_late",
    "champion_old", "version_unsigned", "not_checked",
]  # fmt: skip
"""Why something needs attention, worst first."""

EXIT_WELL: Final = 0
EXIT_ATTENTION: Final = 1
EXIT_NOT_CHECKED: Final = 3


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChampionStatus(_Record):
    """The version that answers for a model."""

    version: str = Field(description="Number of the version.", examples=["12"])
    since: datetime | None = Field(
        description="When it became champion, in UTC; null if the journal does not say.",
        examples=["2023-09-02T04:10:00Z"],
    )
    trained_on: str = Field(
        description="First and last month of its training trips; empty if the version does not say.",
        examples=["2022-07 to 2023-05"],
    )
    tested_on: str = Field(
        description="Month on which it was tested, YYYY-MM; empty if that is not known.", examples=["2023-06"]
    )
    test_rmse_minutes: float | None = Field(
        description="Root of the mean squared error on that month, in minutes; null if that is not known.",
        examples=[4.04],
    )
    months_behind: int | None = Field(
        description="Months from the month on which it was tested to the newest month that was judged; null if "
        "one of them is not known.",
        examples=[0],
    )
    is_signed: bool = Field(description="Whether it has a signature of this machine's key.", examples=[True])
    is_old: bool = Field(
        description="Whether it is further behind than the setting `max_champion_age_months` allows.",
        examples=[False],
    )


class VerdictStatus(_Record):
    """The newest version of a model, and whether it may become champion."""

    version: str = Field(description="Number of the version.", examples=["13"])
    tested_on: str = Field(
        description="Month on which it was tested, YYYY-MM; empty if that is not known.", examples=["2023-07"]
    )
    test_rmse_minutes: float | None = Field(
        description="Root of the mean squared error on that month, in minutes; null if that is not known.",
        examples=[4.11],
    )
    registered_at: datetime | None = Field(
        description="When it was registered, in UTC; null if that is not known.",
        examples=["2023-10-02T04:10:00Z"],
    )
    verdict: str = Field(
        description="promote, keep or refuse; none without a verdict; unfinished if its run did not end; "
        "unreadable if somebody changed it.",
        examples=["keep"],
    )
    reason: str = Field(description="Why, as a sentence.", examples=["RMSE 4.1100 is 0.20% above ..."])
    override: str = Field(
        description="Who made it champion against its verdict, and why; empty if nobody did.", examples=[""]
    )


class WaitedMonth(_Record):
    """The month that a model is trained on next. The three dates are null for the synthetic city."""

    month: str = Field(description="YYYY-MM.", examples=["2023-08"])
    possible_from: date | None = Field(
        description="First day on which TLC could publish it.", examples=["2023-10-19"]
    )
    expected_by: date | None = Field(
        description="Day by which TLC has published nearly every month.", examples=["2023-11-19"]
    )
    overdue_from: date | None = Field(
        description="Day from which somebody must look why it is not there.", examples=["2023-11-30"]
    )
    is_overdue: bool = Field(description="Whether that day is past.", examples=[False])


class CheckStatus(_Record):
    """The last look of the schedule for a new month."""

    at: datetime = Field(description="When it ended, in UTC.", examples=["2023-10-20T00:01:00Z"])
    month: str = Field(description="The month, YYYY-MM; empty if it is not known.", examples=["2023-08"])
    outcome: str = Field(
        description="judged, not_published, nothing_to_do or failed.", examples=["not_published"]
    )
    text: str = Field(
        description="What was found, one line.", examples=["green 2023-08 is not published yet"]
    )


class FailureStatus(_Record):
    """The newest run of a model that failed, was interrupted or died."""

    run_id: str = Field(description="MLflow's id of the run.", examples=["1792cfc177ed4ca9bcbab8fc0a55a71c"])
    about: str = Field(
        description="What the run was about; empty if it does not say.", examples=["green 2023-07"]
    )
    at: datetime = Field(
        description="When it ended or, if it died, was last alive, in UTC.", examples=["2023-10-02T04:10:00Z"]
    )
    how: Literal["failed", "interrupted", "died"] = Field(
        description="failed: with an error; interrupted: somebody ended it, or its process is gone and it was "
        "closed; died: MLflow shows it as running, but it gave no sign of life for 15 minutes.",
        examples=["failed"],
    )
    error: str = Field(
        description="Its error, one line; empty if it has none.", examples=["DownloadError: ..."]
    )
    is_over: bool = Field(description="Whether a later run of the model succeeded.", examples=[False])


class RunningStatus(_Record):
    """A run of a model that is at work now."""

    run_id: str = Field(description="MLflow's id of the run.", examples=["1792cfc177ed4ca9bcbab8fc0a55a71c"])
    about: str = Field(
        description="What the run is about; empty if it does not say.", examples=["green 2023-07"]
    )
    since: datetime = Field(description="When it started, in UTC.", examples=["2023-10-02T04:10:00Z"])


class MonitoringStatus(_Record):
    """The newest month that was compared with what the champion of that time had promised."""

    month: str = Field(description="YYYY-MM.", examples=["2023-07"])
    champion: str = Field(description="Number of the version that was compared.", examples=["12"])
    is_alarm: bool = Field(description="Whether there is an alarm.", examples=[False])
    rmse_minutes: float | None = Field(
        description="Root of the mean squared error on that month, in minutes; null if that is not known.",
        examples=[4.2],
    )
    promised_minutes: float | None = Field(
        description="The same on the month on which it was tested; null if that is not known.",
        examples=[4.04],
    )
    text: str = Field(description="All of this, and the cause, as a sentence.", examples=["No alarm ..."])
    compared_at: datetime | None = Field(
        description="When it was compared, in UTC; null if that is not known.",
        examples=["2023-10-02T03:10:00Z"],
    )


class ApprovalStatus(_Record):
    """A version that waits until a person approves it."""

    version: str = Field(description="Number of the version.", examples=["13"])
    since: datetime | None = Field(
        description="Since when, in UTC; null if that is not known.", examples=["2023-10-02T04:10:00Z"]
    )
    why: str = Field(description="Why it waits.", examples=["every promotion needs an approval"])


class ModelStatus(_Record):
    """What an operator must know of one registered model. What there is not is null."""

    name: str = Field(description="Registered model.", examples=["trip-duration-green"])
    service: str = Field(description="Its service.", examples=["green"])
    champion: ChampionStatus | None = Field(description="The version that answers.")
    newest: VerdictStatus | None = Field(description="The newest version, and its verdict.")
    waits_for: WaitedMonth | None = Field(description="The month that it is trained on next.")
    last_check: CheckStatus | None = Field(description="The last look of the schedule for a new month.")
    running: RunningStatus | None = Field(description="A run that is at work now.")
    last_failure: FailureStatus | None = Field(description="The newest run that did not succeed.")
    monitoring: MonitoringStatus | None = Field(description="The newest compared month.")
    approval: ApprovalStatus | None = Field(description="A version that waits for an approval.")
    unsigned: tuple[str, ...] = Field(
        description="Numbers of the versions of this project that this machine's key did not sign.",
        examples=[[]],
    )
    problems: tuple[str, ...] = Field(description="What could not be read, as sentences.", examples=[[]])


class Answering(_Record):
    """The version with which the online service answers for a model."""

    model: str = Field(description="Registered model.", examples=["trip-duration-green"])
    version: str | None = Field(description="Number of the version; null if none answers.", examples=["12"])
    problem: str = Field(
        description="Why this is not the champion of now, or may not be; empty if all is well.", examples=[""]
    )


class ServerStatus(_Record):
    """A server of this project, and whether it is up."""

    name: Literal["tracking store", "online service", "Mage"] = Field(
        description="Which one.", examples=["online service"]
    )
    address: str = Field(
        description="Where it is, without user and password; empty if that is not known.",
        examples=["http://127.0.0.1:8000"],
    )
    state: Literal["up", "down", "off", "not checked"] = Field(
        description="up: it answers; down: it should answer and does not; off: nothing says that it should run "
        "here; not checked: that is not known.",
        examples=["up"],
    )
    text: str = Field(description="What was found.", examples=["it answers"])
    act: str = Field(description="The command that comes next; empty if none.", examples=[""])
    answering: tuple[Answering, ...] = Field((), description="Of the online service: what it answers with.")


class DiskStatus(_Record):
    """Room for this project's files on this machine."""

    folder: str = Field(description="The state folder.", examples=["/srv/taxis/.state"])
    free_bytes: int = Field(description="Bytes that are free on its disk.", examples=[120_000_000_000])
    needed_bytes: int = Field(
        description="Bytes below which a person must make room.", examples=[2_000_000_000]
    )
    used_bytes: int | None = Field(
        description="Bytes of the files in the folder; null if counting them takes too long.",
        examples=[1_200_000_000],
    )


class Attention(_Record):
    """Something that needs a person, or could not be checked, and the next act."""

    kind: Kind = Field(description="Why.", examples=["approval"])
    about: str = Field(
        description="The registered model or the server; or disk.", examples=["trip-duration-green"]
    )
    text: str = Field(
        description="What is so, as a sentence.", examples=["version 13 waits for approval ..."]
    )
    act: str = Field(
        description="The command that comes next.", examples=["python -m mlops approve 13 --reason ..."]
    )

    @property
    def is_checked(self) -> bool:
        """Whether this is known, and not only something that could not be looked at."""
        return self.kind != "not_checked"


class Status(_Record):
    """Whether all is well, and if not, what needs attention; then all that is known."""

    at: datetime = Field(
        description="When the servers and the disk were looked at, in UTC.", examples=["2023-10-20T08:30:00Z"]
    )
    read_at: datetime | None = Field(
        description="When the registry was read, in UTC; null if it was not, and then nothing is known of models.",
        examples=["2023-10-20T08:30:00Z"],
    )
    is_well: bool = Field(
        description="Whether nothing needs attention, and everything could be checked.", examples=[True]
    )
    attention: tuple[Attention, ...] = Field(description="What needs attention, worst first.")
    models: tuple[ModelStatus, ...] = Field(description="The models, sorted by name.")
    servers: tuple[ServerStatus, ...] = Field(description="Tracking store, online service and Mage.")
    disk: DiskStatus | None = Field(description="Room on the disk; null if it could not be measured.")

    @property
    def exit_status(self) -> int:
        """0 all is well, 1 something needs a person, 3 nothing does, but something could not be checked."""
        if any(each.is_checked for each in self.attention):
            return EXIT_ATTENTION
        return EXIT_NOT_CHECKED if self.attention else EXIT_WELL
