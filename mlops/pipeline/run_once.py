"""One run key, one version: reuse it if it exists, resume it after a crash, deliver it after an outage.

The order of the writes makes this safe. A result is stored in the checkpoint before it is sent to the tracking
server, and a version gets its final tag after everything else. So a process can die at any moment: the next
attempt sees what is missing.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from mlops import files, locks
from mlops.config import Settings
from mlops.errors import DataQualityError, TrackingDownError, TrackingError, UntrustedError, command
from mlops.locks import Lock
from mlops.pipeline import checkpoint, fit_stage, judge_stage, leaderboard, release_stage
from mlops.pipeline.checkpoint import Checkpoint
from mlops.pipeline.fit_stage import Attempt
from mlops.pipeline.run_result import RunResult
from mlops.registry import alias_log, client, run_history, run_lifecycle, server_facts, versions
from mlops.registry.versions import Version

logger = logging.getLogger(__name__)

MONTHS = "months.csv"  # file of a checkpoint: the months of a run with a pending result
_HASHES = {"raw": "sha256", "path": "clean_sha256", "features": "features_sha256"}


@dataclass(frozen=True)
class Delivery:
    """Outcome of an attempt to deliver a pending result.

    Parameters
    ----------
    name, month : str
        The registered model, and the test month, YYYY-MM.
    result : RunResult or None
        None if it could not be delivered.
    problem : str
        Why it could not be delivered and what to do, for people.
    """

    name: str
    month: str
    result: RunResult | None
    problem: str = ""

    @property
    def is_delivered(self) -> bool:
        """Whether the registry has its version now."""
        return self.result is not None

    def __str__(self) -> str:
        if self.result is None or self.result.version is None:
            return (
                f"pending result of {self.name}, tested on {self.month}, cannot be delivered: {self.problem}"
            )
        return f"{self.result.version.uri} is {self.result.board['about'].iloc[0]}"


def train_once(
    name: str, key: str, settings: Settings, months: pd.DataFrame, asked_by: str = ""
) -> RunResult:
    """The result of a run, which is trained only if its version does not exist; one attempt per model at a time.

    Parameters
    ----------
    name, key : str
        The registered model, and the run key.
    settings : Settings
    months : DataFrame
        As `steps.build_features` describes them.
    asked_by : str
        As in `steps.train_and_register`; a run that is started twice is not trained twice, even with `force`.

    Raises
    ------
    BusyError
        When another run works on the model and the settings say not to wait.
    MlopsError
        When a stage of the run fails.
    """
    known = find_result(name, key, settings)
    if known is not None:
        return known
    with run_lifecycle.work_lock(name, settings.on_busy, f"training {title(settings)}") as lock:
        deliver(name, lock, but=key)
        found = _completed(name, key)  # another run may have registered it while this one waited
        if found and (not settings.force or was_made_for(found, asked_by)):
            return _repeat(found, settings)
        versions.require_signed_champion(name)  # before hours of tuning, not after them
        kept = kept_of(name, key, settings)
        stages = partial(_train_and_judge, kept, name, settings, months, lock, asked_by)
        return finish(kept, months, stages)


def was_made_for(version: Version, asked_by: str) -> bool:
    """Whether the version was made for this run of a scheduler."""
    return bool(asked_by) and version.tags.get("asked_by") == asked_by


def find_result(name: str, key: str, settings: Settings) -> RunResult | None:
    """The result of an earlier run with the same key, if it is registered and judged; None with `force`.

    Also None if that run still has a checkpoint: `train_once` removes it while it holds the lock.
    """
    found = None if settings.force else versions.find(name, key)
    if not found or not found.is_complete or key in {kept.key for kept in checkpoint.unfinished(name)}:
        return None
    return _repeat(found, settings)


def deliver(name: str, lock: Lock, but: str = "") -> list[Delivery]:
    """Deliver the pending results that belong to this tracking store, except that of the run key `but`.

    The caller holds the model's lock.
    """
    delivered = []
    for waiting in checkpoint.pending(name):
        _completed(name, waiting.key)
        if waiting.key == but or not waiting.folder.is_dir():
            continue
        if elsewhere := waiting.elsewhere():
            act = command("doctor --resume")
            logger.warning(
                "%s: the pending result in %s waits: %s, then %s", name, waiting.folder, elsewhere, act
            )
        else:
            delivered.append(_deliver(waiting, lock))
    return delivered


def _deliver(waiting: Checkpoint, lock: Lock) -> Delivery:
    note = waiting.noted(checkpoint.PENDING) or {}
    name, month = note["name"], note["month"]
    logger.info("delivering the pending result of %s, tested on %s", name, month)
    try:
        months = pd.read_csv(waiting.folder / MONTHS, keep_default_na=False)
        versions.require_signed_champion(name)
        kept, settings = Checkpoint.of(name, waiting.key), Settings.parse(note["settings"])
        stages = partial(_train_and_judge, kept, name, settings, months, lock, "")
        return Delivery(name, month, finish(kept, months, stages))
    except TrackingDownError:
        raise
    except Exception as error:  # no error here may prevent the training of later months
        advice = (
            ""
            if isinstance(error, TrackingError | UntrustedError)
            else f" Delete {waiting.folder} and train it again."
        )
        failed = Delivery(name, month, None, f"{error}.{advice}")
        logger.error("%s", failed)
        return failed


def finish(kept: Checkpoint, months: pd.DataFrame, stages: Callable[[], RunResult]) -> RunResult:
    """The result of the stages of a run, continued where an earlier attempt was interrupted.

    The checkpoint is removed at the end, and after an error; after an interruption or an outage it stays.

    Raises
    ------
    DataQualityError
        When another run has replaced a file of the months.
    MlopsError
        When a stage fails.
    """
    try:
        for row in months.to_dict("records"):
            for path, sha256 in _HASHES.items():
                require_unchanged(Path(row[path]), row[sha256])
        result = stages()
    except TrackingDownError as error:
        if not kept.noted(checkpoint.PENDING):
            raise
        raise TrackingDownError(
            f"{error}. Nothing is lost: the fitted model and everything to log are stored in {kept.folder}. "
            f"The next run of this model delivers them. To deliver them now: {command('doctor --resume')}"
        ) from error
    except Exception:
        if not kept.noted(checkpoint.PENDING):
            kept.remove()  # a failed attempt is never resumed
        raise
    finally:
        shutil.rmtree(kept.scratch, ignore_errors=True)
    kept.remove()
    if result.version:
        logger.info("%s is %s", result.version.uri, result.board["about"].iloc[0])
    return result


def _train_and_judge(
    kept: Checkpoint, name: str, settings: Settings, months: pd.DataFrame, working: Lock, asked_by: str
) -> RunResult:
    """A run from its origin to the alias, stage by stage."""
    own = fit_stage.origin_of(kept, settings)["attempt"]
    with (
        contextlib.ExitStack() as held,
        run_lifecycle.start_run(name, title(settings), kept.key, own, forced=settings.force) as run,
    ):
        attempt = Attempt(run, kept, name, settings, months, asked_by)
        kept.note(checkpoint.STORE, server_facts.identity(name))
        fit_stage.log_origin(attempt)
        fitted = fit_stage.fit(attempt)
        _keep_for_later(attempt)
        fit_stage.log_search(attempt, fitted)
        # No other process may move an alias of the model between the verdict and the promotion.
        lock = held.enter_context(locks.hold(f"{name}.aliases", about=f"judging {settings.month}"))
        working.check()
        alias_log.reconcile(name)
        versions.require_signed_champion(name)  # an alias may have moved meanwhile
        tested = judge_stage.test(attempt, fitted)
        compared = judge_stage.compare(attempt, tested)
        judged = judge_stage.decide(attempt, tested, compared)
        judge_stage.log_report(attempt, judged)
        # From here to the end a signal must wait: version, aliases and run have to agree.
        held.enter_context(client.defer_signals())
        version = release_stage.register(attempt, fitted, judged, lock)
        verified = release_stage.verify(attempt, version)
        return release_stage.promote(attempt, fitted, judged, version, verified, lock)


def title(settings: Settings) -> str:
    """What a run is about: its service and month."""
    return f"{settings.service} {'next month' if settings.is_next else settings.month}"


def _keep_for_later(attempt: Attempt) -> None:
    """Mark the result as pending, and store everything that its delivery needs."""
    attempt.checkpoint.write(MONTHS, attempt.months.to_csv(index=False))
    settings = attempt.settings
    plain = settings.model_dump(mode="json") | {"source": settings.describe()["source"]}
    about = {"name": attempt.name, "month": settings.month, "settings": plain}
    attempt.checkpoint.note(checkpoint.PENDING, about)


def kept_of(name: str, key: str, settings: Settings) -> Checkpoint:
    """Checkpoint of a run, or of an experiment. A forced run does not resume an attempt that was not forced.

    Raises
    ------
    TrackingError
        When an earlier attempt belongs to another tracking store.
    """
    kept = Checkpoint.of(name, key)
    if elsewhere := kept.elsewhere():
        raise TrackingError(
            f"{name}: an earlier attempt at this run is stored in {kept.folder}: {elsewhere}, then run it again; "
            "or delete the folder to train it here"
        )
    if settings.force and (kept.noted("origin") or {}).get("forced") != "true":
        kept.remove()
    return Checkpoint.of(name, key)


def _completed(name: str, key: str) -> Version | None:
    """The judged version of a key, or None. Also finishes its run and removes its checkpoint, if left behind."""
    found = versions.find(name, key)
    if not found or not found.is_complete:
        return None
    run_lifecycle.mark_finished(found.run_id)
    kept = Checkpoint.of(name, key)
    if (kept.noted("origin") or {}).get("attempt") in (found.tags.get("attempt"), None):
        kept.remove()
    return found


def _repeat(version: Version, settings: Settings) -> RunResult:
    """The result of an earlier run with the same key."""
    logger.info(
        "%s is already registered with this run key: nothing to do; set force to train again", version.uri
    )
    tested = version.tags.get("test_month", "nothing")
    if tested != settings.month:  # somebody changed the tag, and the month would count as not judged for ever
        logger.warning("%s: its tag test_month was %s; corrected to %s", version.uri, tested, settings.month)
        version = versions.tag(version, {"test_month": settings.month})
    board = _board(version)
    first, *others = board["about"]
    board = board.assign(about=[f"already registered as {first}", *others])
    return RunResult.of_version(version, board, version.tags.get("reason", ""), is_repeat=True)


def _board(version: Version) -> pd.DataFrame:
    """The leaderboard that a version's run logged; without it, what the version's tags say."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return leaderboard.read(run_history.fetch(version, "leaderboard.csv", Path(folder)))
    except TrackingDownError:
        raise
    except TrackingError as error:
        logger.warning("%s. Only the version itself is shown", error)
        return leaderboard.of_version(version)


def require_unchanged(path: Path, sha256: str) -> None:
    """Raise if another run (of a republished month, or with other rules) has replaced the file.

    Raises
    ------
    DataQualityError
    """
    if not path.is_file() or files.sha256_of(path) != sha256:
        raise DataQualityError(f"{path}: another run has replaced this file. Start this run again.")
