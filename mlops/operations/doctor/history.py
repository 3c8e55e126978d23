"""Is a model's history whole: experiment, runs, files, journal, compared months? People can delete them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlops import config
from mlops.errors import UntrustedError
from mlops.operations.doctor.finding import Finding, Findings
from mlops.pipeline import schedule
from mlops.registry import (
    alias_log,
    journal_tags,
    monitoring_log,
    run_history,
    run_lifecycle,
    version_files,
    versions,
)
from mlops.registry.alias_log import CHALLENGER, CHAMPION
from mlops.registry.versions import Version

_ACTS = {
    CHAMPION: "promote or roll back to another version",
    CHALLENGER: "train its month again with --force",
}


def look_over(name: str) -> Findings:
    """Findings about what is missing of a model's history; none if all of it is there.

    The caller has connected to the tracking store, and the journal is reconciled.
    """
    deleted = run_lifecycle.find_deleted(name)
    if deleted:
        yield Finding(f"{name}: {deleted}", is_open=True)
    found = versions.list_all(name)
    for version in found:
        yield from _tags(version)
        if (
            version.is_ours and not deleted
        ):  # all its runs are deleted with an experiment, and restored with it
            yield from _run(version)
    yield from _aliases(name, {version.number: version for version in found})
    for problem in monitoring_log.find_problems(name):
        yield Finding(problem, is_open=True)
    for key in alias_log.unreadable(name):
        text = f"{name}: its tag {key} is no entry of the journal; delete it in MLflow, or restore a backup"
        yield Finding(f"{text}{_how_to_delete(name, key)}", is_open=True)
    forged = [str(entry.number) for entry in alias_log.read_all(name) if entry.proof == alias_log.FORGED]
    if forged:
        yield Finding(
            f"{name}: moves of the journal without a signature of this machine's key: {', '.join(forged)}. If "
            "another machine made them, copy registry.key of its state folder here; else somebody forged them: "
            "find out who can write to the registry, and delete their tags in MLflow"
            f"{''.join(_how_to_delete(name, key) for key in alias_log.forged(name)[:1])}",
            is_open=True,
        )


def _how_to_delete(name: str, key: str) -> str:
    """For a tag that MLflow's pages do not show, which client's call deletes it; empty for any other."""
    if not key.startswith(journal_tags.PREFIX):
        return ""
    return f". Its pages do not show it; in Python: MlflowClient().delete_registered_model_tag({name!r}, {key!r})"


def _tags(version: Version) -> Findings:
    if not version.is_ours:
        yield Finding(
            f"{version.uri}: another program or a person registered it, so it can never be promoted; "
            "delete it in MLflow, or register it under another name",
            is_open=True,
        )
    elif version.is_complete and schedule.test_month(version) is None:
        tag = version.tags.get("test_month", "")
        text = f"{version.uri}: its tag test_month is {tag!r}; set it to the month that it was tested on, YYYY-MM"
        yield Finding(text, is_open=True)


def _run(version: Version) -> Findings:
    if run_history.stage_of(version.run_id) != run_history.ACTIVE:
        yield Finding(f"{version.uri}: {run_history.explain_loss(version.run_id)}", is_open=True)
    elif version.is_complete and not run_history.has_file(version.run_id, run_history.MONTHS):
        why = run_history.explain_loss(version.run_id)
        yield Finding(f"{version.uri}: {run_history.MONTHS} is missing: {why}", is_open=True)


def _aliases(name: str, found: dict[str, Version]) -> Findings:
    aliases = alias_log.aliases(name)
    for alias, number in sorted(aliases.items()):
        try:
            problem = _problem(alias, found[number]) if number in found else "that version was deleted"
        except UntrustedError as error:
            yield Finding(f"{name}: {alias}: {error}", is_open=True)
            continue
        if problem:
            act = _ACTS.get(alias, "remove the alias in MLflow")
            yield Finding(f"{name}: {alias} is version {number}, but {problem}; {act}", is_open=True)
    tenures = alias_log.tenures(alias_log.read(name))
    if tenures and tenures[-1].version is None and CHAMPION not in aliases:
        text = f"{name}: no version is champion since {tenures[-1].since}; promote one"
        yield Finding(text, is_open=True)


def _problem(alias: str, version: Version) -> str:
    """What is wrong with the version that an alias points at; empty if nothing is."""
    if alias not in _ACTS:
        return ""
    if not (version.is_ours and version.is_complete):
        return "no run of this project judged it" if alias == CHAMPION else ""
    with tempfile.TemporaryDirectory(dir=config.state_dir()) as folder:
        return version_files.find_damage(version, Path(folder))
