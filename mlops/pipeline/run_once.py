"""One run key, one version: found again, gone on with after a crash, delivered after an outage.

Source of the order: the work folder is kept before the tracking server is told,
and a version's last tag is written when all else is done. So whatever moment a
process dies at, the next attempt finds what is missing.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from pathlib import Path

import pandas as pd

from mlops import files, locks
from mlops.config import Settings
from mlops.errors import DataQualityError, TrackingDownError, TrackingError
from mlops.locks import Lock
from mlops.pipeline import checkpoint, fit_stage, judge_stage
from mlops.pipeline.checkpoint import Checkpoint
from mlops.registry import alias_log, client, run_lifecycle, runs, versions
from mlops.registry.versions import Version

logger = logging.getLogger(__name__)

_MONTHS, _AGAIN = "months.csv", "registered earlier as"
_FILES = {"raw": "sha256", "path": "clean_sha256", "features": "features_sha256"}


def train_once(name: str, key: str, settings: Settings, months: pd.DataFrame) -> pd.DataFrame:
    """Leaderboard of a run, trained now unless its version is there; one attempt of a model at a time.

    Parameters
    ----------
    name, key : str
        The registered model, and the run key.
    settings : Settings
    months : DataFrame
        As `steps.build_features` describes them.

    Raises
    ------
    BusyError
        When another run works on the model and the settings say not to wait.
    MlopsError
        As the steps of a run do.
    """
    board = find_result(name, key, settings)
    if board is not None:
        return board
    with run_lifecycle.work_lock(name, settings.on_busy, f"training {_title(settings)}") as lock:
        deliver(name, lock, but=key)
        found = _settled(name, key)  # another run may have registered it while this one waited
        if found and not settings.force:
            return _repeat(found)
        return _attempt(_kept(name, key, settings), name, settings, months, lock)


def find_result(name: str, key: str, settings: Settings) -> pd.DataFrame | None:
    """Leaderboard of this very run, if it is registered and judged, and not asked for once more.

    What an attempt left that was cut off right after that is for `train_once` to tidy up, under the lock.
    """
    found = None if settings.force else versions.find(name, key)
    if not found or not found.is_complete or key in {kept.key for kept in checkpoint.unfinished(name)}:
        return None
    return _repeat(found)


def deliver(name: str, lock: Lock, but: str = "") -> list[str]:
    """What became of the runs whose results wait to be told to the tracking server, one line each.

    The caller holds the model's lock.
    """
    told = []
    for waiting in checkpoint.pending(name):
        _settled(name, waiting.key)
        if waiting.key == but or not waiting.folder.is_dir():
            continue
        origin = waiting.noted(checkpoint.PENDING) or {}
        about = f"{origin['name']} tested on {origin['month']}, fitted earlier"
        logger.info("telling the tracking server of %s", about)
        try:
            months = pd.read_csv(waiting.folder / _MONTHS, keep_default_na=False)
            kept, settings = Checkpoint.of(origin["name"], waiting.key), Settings.parse(origin["settings"])
            board = _attempt(kept, origin["name"], settings, months, lock)
            told.append(f"{board['entry'].iloc[0]} is {board['about'].iloc[0]}")
        except TrackingDownError:
            raise
        except Exception as error:  # whatever it is, it must not keep later months from being trained
            advice = (
                "" if isinstance(error, TrackingError) else f" Delete {waiting.folder}, and train it again."
            )
            told.append(f"{about}, cannot be delivered: {error}.{advice}")
            logger.error("%s", told[-1])
    return told


def _attempt(
    kept: Checkpoint, name: str, settings: Settings, months: pd.DataFrame, lock: Lock
) -> pd.DataFrame:
    """Leaderboard of a run, gone on with from where an earlier attempt was cut off."""
    try:
        for row in months.to_dict("records"):
            for path, sha256 in _FILES.items():
                require_unchanged(Path(row[path]), row[sha256])
        version, board = _train_and_judge(kept, name, settings, months, lock)
    except TrackingDownError as error:
        if not kept.noted(checkpoint.PENDING):
            raise
        raise TrackingDownError(
            f"{error}. Nothing is lost: the fitted model and all there is to log are kept in {kept.folder}. "
            "The next run of this model delivers them, or: python -m mlops doctor --resume"
        ) from error
    except Exception:
        if not kept.noted(checkpoint.PENDING):
            kept.remove()  # what failed once is not gone on with
        raise
    finally:
        shutil.rmtree(kept.scratch, ignore_errors=True)
    kept.remove()
    logger.info("%s is %s", version.uri, board["about"].iloc[0])
    return board


def _train_and_judge(
    kept: Checkpoint, name: str, settings: Settings, months: pd.DataFrame, working: Lock
) -> tuple[Version, pd.DataFrame]:
    """The version of a run, with its aliases where they belong, and the run's leaderboard."""
    own = fit_stage.origin_of(kept, settings)["attempt"]
    with (
        contextlib.ExitStack() as judged_alone,
        run_lifecycle.start_run(name, _title(settings), kept.key, own) as run,
    ):
        attempt = (run, kept, name, settings, months)
        job = fit_stage.Training(*attempt)
        job.log_origin()
        fitted = job.fit()
        _keep_for_later(kept, name, settings, months)
        job.log_search(fitted)
        # Nobody else moves an alias of the model between the verdict and what follows from it.
        lock = judged_alone.enter_context(locks.hold(f"{name}.aliases", about=f"judging {settings.month}"))
        working.check()
        alias_log.reconcile(name)
        judge = judge_stage.Judging(*attempt, fitted, lock)
        judged = judge.judge()
        judge.log_report(judged)
        # From here to the end of the run nobody interrupts: a version, its aliases and its run belong together.
        judged_alone.enter_context(client.defer_signals())
        version = judge.register(judged)
        return judge.conclude(version, judged, judge.prove(version))


def _title(settings: Settings) -> str:
    return f"{settings.service} {settings.month}"


def _keep_for_later(kept: Checkpoint, name: str, settings: Settings, months: pd.DataFrame) -> None:
    """Note that from here on a result waits to be told, with all that telling it takes."""
    kept.write(_MONTHS, months.to_csv(index=False))
    plain = settings.model_dump(mode="json") | {"source": settings.describe()["source"]}
    kept.note(checkpoint.PENDING, {"name": name, "month": settings.month, "settings": plain})


def _kept(name: str, key: str, settings: Settings) -> Checkpoint:
    """What an earlier attempt left; of one that was not forced a forced run takes nothing."""
    kept = Checkpoint.of(name, key)
    if settings.force and (kept.noted("origin") or {}).get("forced") != "true":
        kept.remove()
    return Checkpoint.of(name, key)


def _settled(name: str, key: str) -> Version | None:
    """The judged version of a key; what its attempt left, if it was cut off right after that, is tidied up."""
    found = versions.find(name, key)
    if not found or not found.is_complete:
        return None
    run_lifecycle.mark_finished(found.run_id)
    kept = Checkpoint.of(name, key)
    if (kept.noted("origin") or {}).get("attempt") in (found.tags["attempt"], None):
        kept.remove()
    return found


def _repeat(version: Version) -> pd.DataFrame:
    """Leaderboard of a run that was done before."""
    logger.info("%s is this very run, registered earlier: nothing to do; force trains anew", version.uri)
    with tempfile.TemporaryDirectory() as folder:
        board = pd.read_csv(runs.fetch_artefact(version.run_id, "leaderboard.csv", Path(folder)))
    first, *others = board["about"]
    return board.assign(about=[f"{_AGAIN} {first}", *others])


def is_repeat(board: pd.DataFrame) -> bool:
    """Whether the leaderboard is of a run that was done before."""
    return str(board["about"].iloc[0]).startswith(_AGAIN)


def require_unchanged(path: Path, sha256: str) -> None:
    """Refuse a file that another run (of a republished month, or with other rules) has put in its place."""
    if not path.is_file() or files.sha256_of(path) != sha256:
        raise DataQualityError(f"{path}: another run has replaced what this run fetched or made. Run again.")
