"""The descriptions of a model and of its versions in MLflow's pages: what a person reads first, with links.

They are Markdown. What stands above `MARK` belongs to people; what stands below it is written again
whenever an alias moves. Links begin with ``#``: so they lead to the server that a person opened, at any
address.
"""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlops.errors import MlopsError, one_line
from mlops.registry import alias_log, approvals, overrides, server_facts, verification, versions
from mlops.registry.alias_log import CHAMPION, Tenure
from mlops.registry.approvals import Waiting
from mlops.registry.client import mlflow_client, with_retry, without_retry
from mlops.registry.overrides import Override
from mlops.registry.signed_version import PREFIX
from mlops.registry.versions import Version

logger = logging.getLogger(__name__)

MARK = "<!-- mlops writes what follows; write above this line -->"
LONGEST = 5000  # characters of a description
RIDES = {
    "green": "ride in a green taxi",
    "yellow": "ride in a yellow taxi",
    "fhvhv": "ride with Uber or Lyft",
    "sample": "ride in the synthetic city",
}
FORMER = "Predicts how many minutes a taxi ride will take."  # what earlier releases wrote, and no person
TAG = "champion"  # of the registered model: shown in MLflow's list of models


@dataclass(frozen=True)
class _Past:
    """What happened to the versions of a model.

    Parameters
    ----------
    experiment_id : str
        Of the model's runs; empty if there is none.
    champion : str or None
        Number of the champion.
    tenures : tuple of Tenure
    waits : Waiting or None
    overridden : mapping of str to Override
        By number.
    """

    experiment_id: str
    champion: str | None
    tenures: tuple[Tenure, ...]
    waits: Waiting | None
    overridden: Mapping[str, Override]


def of_new_model(name: str) -> str:
    """What people read about a model that has just been registered.

    Examples
    --------
    >>> of_new_model("trip-duration-green")[:69]
    'Predicts how many minutes a requested ride in a green taxi will take:'
    """
    ride = RIDES.get(name.removeprefix(PREFIX), "ride")
    return (
        f"Predicts how many minutes a requested {ride} will take: from the zones of pickup and drop-off, the time "
        "and, if it is known, the distance. For arrival times and for planning rides, not for fares."
    )


def refresh(name: str) -> None:
    """Write the descriptions of a model and its versions again, where they differ from what is true now.

    The caller holds the lock on the model's aliases. A failure is only logged: it undoes no move of an alias.
    """
    try:
        with without_retry():
            _refresh(name)
    except MlopsError as error:
        logger.warning("%s: its pages in MLflow may show an earlier state: %s", name, error)


@with_retry("{0}: describing the model and its versions")
def _refresh(name: str) -> None:
    client = mlflow_client()
    found = versions.list_all(name)
    if not found:
        return
    known, past = {version.number: version for version in found}, _past(name, found)
    texts = {str(each.version): each.description for each in client.search_model_versions(f"name = '{name}'")}
    for version in found:
        if version.is_ours and version.is_complete:
            text = below(texts.get(version.number) or "", of_version(version, past))
            if text != texts.get(version.number):
                versions.describe(version, text)
    model = client.get_registered_model(name)
    now = model.description or ""
    own = now.partition(MARK)[0].strip()
    text = below(of_new_model(name) if own in ("", FORMER) else now, _of_model(name, known, past))
    if text != now:
        client.update_registered_model(name, text)
    champion = known.get(past.champion or "")
    short = f"{_month(champion)}, RMSE {_rmse(champion)}" if champion else "none"
    if model.tags.get(TAG) != short:
        client.set_registered_model_tag(name, TAG, short)


def _past(name: str, found: Iterable[Version]) -> _Past:
    entries = alias_log.read(name)
    experiment = mlflow_client().get_experiment_by_name(name)
    return _Past(
        str(experiment.experiment_id) if experiment else "",
        alias_log.current(name, CHAMPION),
        alias_log.tenures(entries),
        approvals.waiting(name),
        overrides.by_version(entries, {version.number: version for version in found}),
    )


def below(description: str, text: str) -> str:
    """The description with this text below `MARK`, instead of what is there now; the same if that is too long.

    Examples
    --------
    >>> below("Ask the team first.", "RMSE 4.3") == below(below("Ask the team first.", "RMSE 4.2"), "RMSE 4.3")
    True
    """
    own = description.partition(MARK)[0].rstrip()
    whole = f"{own}\n\n{MARK}\n\n{text}"
    return whole if len(whole) <= LONGEST else description


def of_version(version: Version, past: _Past) -> str:
    """Verdict, verification, outcome and links of a version, as Markdown."""
    tags, number = version.tags, version.number
    reigns = [reign for reign in past.tenures if reign.version == number]
    override = past.overridden.get(number)
    verdict, why = overrides.verdict_of(version), tags.get("reason", "no reason is recorded")
    lines = [
        f"**Verdict: {escaped(verdict)}**: {escaped(why)}",
        *([_waits(past.waits)] if past.waits and past.waits.version.number == number else []),
        *([f"**Verdict overridden**: {escaped(str(override))}"] if override else []),
        *(["Champion " + "; ".join(map(_span, reigns))] if reigns else ["Not champion so far"]),
        f"Verification: {_verified(tags.get('proof'))}",
        _links(version, past.experiment_id),
    ]
    return "\n\n".join(filter(None, lines))


def _of_model(name: str, known: Mapping[str, Version], past: _Past) -> str:
    """Champion, what waits, and how to load and look, as Markdown."""
    load = f'mlflow.pyfunc.load_model("models:/{name}@{CHAMPION}")'
    moves = f"python -m mlops registry --model {name}"
    lines = [
        *_champion_lines(past, known),
        *([_waits(past.waits)] if past.waits else []),
        f"Load the champion: `{load}`",
        f"List every version and every move of an alias: `{moves}`",
    ]
    return "\n\n".join(filter(None, lines))


def _champion_lines(past: _Past, known: Mapping[str, Version]) -> list[str]:
    last = past.tenures[-1] if past.tenures else None
    version = known.get(past.champion or "")
    if version is None:
        return [
            f"**No version is champion** since {_time(last.since)}"
            if last
            else "**No version is champion yet**"
        ]
    tags, since = version.tags, f" since {_time(last.since)}" if last else ""
    learnt = [escaped(tags.get(f"{which}_month_learnt", "?")) for which in ("first", "last")]
    page = f"[version {version.number}]({_address(versions.page_of(version))})"
    return [
        f"**Champion: {page}**{since}. RMSE {_rmse(version)} minutes on the trips of "
        f"{escaped(_month(version))}; trained on {learnt[0]} to {learnt[1]}",
        _links(version, past.experiment_id),
    ]


def _links(version: Version, experiment_id: str) -> str:
    """Links to the run of a version and to its files; empty if another program registered it."""
    if not (version.run_id and experiment_id):
        return ""
    runs = f"experiments/{experiment_id}/runs"
    run = f"{runs}/{version.run_id}"
    places = {
        "Model card": f"{run}/artifacts/model_card.html",
        "Verdict with its evidence": f"{run}/artifacts/verdict.json",
        "Run": run,
        "All runs": runs,
    }
    return " · ".join(f"[{text}]({_address(place)})" for text, place in places.items())


def _address(place: str) -> str:
    """Address of a page of MLflow, relative to any other of its pages."""
    return f"#/{place}?{server_facts.MODE}"


def _waits(waits: Waiting) -> str:
    version = waits.version
    how = f"python -m mlops approve {version.number} --model {version.name} --reason ..."
    return (
        f"**Version {version.number} waits for approval** since {_time(waits.since)}: {escaped(waits.why)}. "
        f"To make it champion: `{how}`"
    )


def _span(reign: Tenure) -> str:
    until = f"until {_time(reign.until)}" if reign.until else "until now"
    return f"from {_time(reign.since)} {until}"


def _time(at: str) -> str:
    return f"{at[:16].replace('T', ' ')} UTC"


def _verified(proof: str | None) -> str:
    if proof == verification.PASSED:
        return "passed: the registry serves the model that was tested"
    return f"failed: {escaped(proof)}" if proof else "none"


def _month(version: Version) -> str:
    return one_line(version.tags.get("test_month", "?"), 20)


def _rmse(version: Version) -> str:
    try:
        return f"{float(version.tags.get('test_rmse', '')):.2f}"
    except ValueError:  # another program registered it, or somebody changed the tag
        return "?"


def escaped(text: str) -> str:
    """A text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]#|~])", r"\\\1", html.escape(one_line(text, 600), quote=False))
