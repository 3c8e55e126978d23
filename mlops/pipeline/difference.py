"""What an experiment does differently from the champion's run: settings, cleaning rules, features, code."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops.config import PROJECT, Settings
from mlops.data.trips import RULES
from mlops.pipeline import fit_stage, run_key
from mlops.pipeline.fit_stage import Attempt
from mlops.pipeline.months_table import REJECTED
from mlops.pipeline.rule_texts import RuleText, from_json
from mlops.registry import run_history, runs
from mlops.registry.versions import Version

SHORT = 3  # names in the few words of a list


@dataclass(frozen=True)
class Change:
    """One difference: for a page, and in a few words for a list."""

    text: str
    short: str


@dataclass(frozen=True)
class Difference:
    """How a run differs from that of the champion.

    Parameters
    ----------
    champion : str
        The champion's URI; empty if there is none.
    changes : tuple of Change
    notes : tuple of str
        What a reader must know to read the comparison: other months, trips that are not tested, what is unknown.
    code : str
        The changed lines of the code, as a unified diff; empty if there are none, or the old code is not known.
    """

    champion: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()
    code: str = ""

    @property
    def in_words(self) -> str:
        """All changes in a few words."""
        if not self.champion:
            return "no champion to differ from"
        return "; ".join(change.short for change in self.changes) or "nothing"

    @property
    def lines(self) -> tuple[str, ...]:
        """One line for each change, then the notes."""
        nothing = ("nothing: the same settings, rules, features and code",) if self.champion else ()
        return (*([change.text for change in self.changes] or nothing), *self.notes)

    def markdown(self) -> str:
        """A page with all of it."""
        title = (
            f"What differs from the champion, {self.champion}" if self.champion else "There is no champion"
        )
        parts = [f"# {title}", "", *(f"- {line}" for line in self.lines)]
        if self.code:
            parts += ["", "The changed lines are in `code.diff`."]
        return "\n".join([*parts, ""])

    def as_record(self) -> dict[str, Any]:
        """The difference as JSON, for programs."""
        changes = [change.text for change in self.changes]
        return {"champion": self.champion or None, "changes": changes, "notes": [*self.notes]}


def from_champion(attempt: Attempt, features: Sequence[str], champion: Version | None) -> Difference:
    """How the run of an attempt differs from the champion's.

    Parameters
    ----------
    attempt : Attempt
        After `judge_stage.compare`, which fetched the champion's files.
    features : sequence of str
        Columns of the model's matrix.
    champion : Version or None
    """
    untested = tuple(_untested(attempt))
    if champion is None:
        alone = "there is no champion: the only comparison is with the baseline, the pair median"
        return Difference("", (), (alone, *untested))
    gone = run_history.stage_of(champion.run_id) == run_history.GONE
    if gone:
        why = f"what differs is not known: {run_history.explain_loss(champion.run_id)}"
        return Difference(champion.uri, (), (why, *untested))
    then = _Then.of(champion, attempt.checkpoint.scratch / "difference")
    inputs = attempt.checkpoint.noted("inputs") or run_key.inputs()
    changes = [
        *_settings(then.parameters, attempt.settings),
        *_rules(then.rules, attempt.rules),
        *_features(_champions_features(attempt), features),
        *(_inputs(then.inputs, inputs) if then.inputs else ()),
    ]
    unknown = () if then.inputs else ("its run did not record its code: what differs in it is not known",)
    return Difference(
        champion.uri,
        tuple(changes),
        (*_months(then.parameters, attempt.settings), *untested, *unknown),
        code_diff(then.inputs.get("code", {}), inputs["code"], then.commit) if then.inputs else "",
    )


@dataclass(frozen=True)
class _Then:
    """What the champion's run recorded."""

    parameters: Mapping[str, str]
    commit: str
    rules: tuple[RuleText, ...]
    inputs: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, champion: Version, folder: Path) -> _Then:
        def read(name: str) -> str:
            if not run_history.has_file(champion.run_id, name):
                return ""
            return run_history.fetch(champion, name, folder).read_text(encoding="utf-8")

        parameters, tags = runs.parameters_of(champion.run_id), runs.tags_of(champion.run_id)
        inputs = json.loads(read(fit_stage.INPUTS) or "{}")
        return cls(parameters, tags.get("git_commit", ""), from_json(read(fit_stage.RULE_TEXTS)), inputs)


def _settings(then: Mapping[str, str], settings: Settings) -> Iterator[Change]:
    """A setting that an older run did not have counts as its default."""
    usual = Settings().result_settings()
    for name, now in settings.result_settings().items():
        before = then.get(name, usual[name])
        if name not in ("service", "month") and before != now:
            yield Change(f"setting {name}: {now}; champion {before}", f"{name} {now} (champion {before})")


def _rules(then: Sequence[RuleText], now: Sequence[RuleText]) -> Iterator[Change]:
    before, after = _by_name(then), _by_name(now)
    for name, text in after.items():
        if name not in before:
            yield Change(f"cleaning rule added: {text or name}", f"rule {text or name}")
        elif text and not text.is_usual and _sha256(before[name]) != text.sha256:
            yield Change(f"cleaning rule changed: {text}", f"rule {name} changed")
    for name in before.keys() - after.keys():
        yield Change(f"cleaning rule left out: {name}", f"without rule {name}")


def _by_name(texts: Sequence[RuleText]) -> dict[str, RuleText | None]:
    """Rules by name; no texts stand for the usual rules."""
    return {text.name: text for text in texts} or {rule.name: None for rule in RULES}


def _sha256(text: RuleText | None) -> str:
    return text.sha256 if text else ""


def _features(then: Sequence[str], now: Sequence[str]) -> Iterator[Change]:
    if not then:
        return
    for name in [name for name in now if name not in then]:
        yield Change(f"feature added: {name}", f"feature {name}")
    for name in [name for name in then if name not in now]:
        yield Change(f"feature left out: {name}", f"without feature {name}")


def _champions_features(attempt: Attempt) -> tuple[str, ...]:
    """Columns of the champion's matrix, from the files that its test fetched and checked; empty if it had none."""
    for path in sorted((attempt.checkpoint.scratch / "champion").rglob("model.json")):
        described = json.loads(path.read_text(encoding="utf-8"))
        return tuple(str(name) for name in described.get("features", ()))
    return ()


def _inputs(then: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> Iterator[Change]:
    """Changed files of the code, and changed packages."""
    for part, named in (("code", "code"), ("environment", "packages")):
        before, after = then.get(part, {}), now[part]
        names = changed_names(before, after)
        if names:
            few = ", ".join(Path(name).name for name in names[:SHORT]) + (", ..." if names[SHORT:] else "")
            yield Change(f"{part}: {run_key.changes(before, after)}", f"{named} {few}")


def changed_names(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names whose values differ, with those that only one has, sorted.

    Examples
    --------
    >>> changed_names({"a": "1", "b": "2"}, {"b": "3", "c": "4"})
    ['a', 'b', 'c']
    """
    return sorted(name for name in {*then, *now} if then.get(name) != now.get(name))


def _months(then: Mapping[str, str], settings: Settings) -> Iterator[str]:
    tested = then.get("month", "")
    if tested and tested != settings.month:
        yield (
            f"the champion's run learnt from other months: its test month was {tested}, this one's is "
            f"{settings.month}; both models are compared on the trips of {settings.month}"
        )


def _untested(attempt: Attempt) -> Iterator[str]:
    """Rules of its own that take trips out of the test: the comparison then says nothing about these trips."""
    (test,) = attempt.months[attempt.months["role"] == "test"].to_dict("records")
    for rule in attempt.rules:
        count = int(test.get(f"{REJECTED}{rule.name}", 0))
        if count and not rule.is_usual and not rule.training_only:
            yield (
                f"the test leaves out {count:,} trips that rule {rule.name} rejects, for both models; with "
                "training_only=True the rule would change only what the model learns from"
            )


def code_diff(then: Mapping[str, str], now: Mapping[str, str], commit: str) -> str:
    """Unified diff of the files whose hash has changed since a commit; empty if git does not know the commit.

    Parameters
    ----------
    then, now : mapping
        Hashes by file, as `run_key.inputs` returns them; `now` is what is on disk.
    commit : str
        As `run_key.git_commit` returned it; with ``-dirty``, files may have differed from it.
    """
    parts = []
    for name in changed_names(then, now):
        old = run_key.text_at(commit.removesuffix("-dirty"), name) if name in then else ""
        new = _text(PROJECT / name) if name in now else ""
        if old is None:
            continue
        is_exact = name not in then or run_key.hash_of(old) == then[name]
        was = name if is_exact else f"{name} (at its commit; it had changes that are not in git)"
        parts += [*_unified(old, new, was, name)]
    return "".join(parts)


def _unified(old: str, new: str, was: str, name: str) -> Iterator[str]:
    lines, now = (text.splitlines(keepends=True) for text in (old, new))
    for line in difflib.unified_diff(lines, now, fromfile=f"champion: {was}", tofile=f"experiment: {name}"):
        yield line if line.endswith("\n") else f"{line}\n"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # deleted meanwhile
        return ""
