"""The one message that an operator gets about a compared month, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from mlops.errors import command, one_line, plain
from mlops.monitoring.causes import LAST_MONTH
from mlops.registry import monitoring_words as words
from mlops.registry.monitoring_record import Record

LONGEST: Final = 1_500  # characters
SLICES, FINDINGS, NOTES = 2, 3, 2  # that a message names
_LINE = 280  # characters of a line whose text comes from elsewhere


def text(record: Record, link: str = "") -> str:
    """The message: what, since when, how much, the likely cause, what was done, what to do; `LONGEST` at most.

    Parameters
    ----------
    record : Record
    link : str
        Where the report is; empty for nowhere.
    """
    lines = [plain(line) for line in _lines(record)]
    end = [f"Report: {link}"] if link else []
    while len("\n".join([*lines, *end])) > LONGEST and len(lines) > 1:
        longest = max(range(len(lines)), key=lambda place: len(lines[place]))
        shorter = len(lines[longest]) * 2 // 3
        if shorter < 60:
            del lines[-1]
        else:
            lines[longest] = f"{lines[longest][:shorter].rstrip()} ..."
    return "\n".join([*lines, *end])


def _lines(record: Record) -> Iterator[str]:
    yield words.headline(record)
    if record.alarm:
        yield f"Since: {since(record)}."
        yield from (
            f"{name}: {said}"
            for name, said in (("How much", how_much(record)), ("Where", where(record)))
            if said
        )
    yield from (f"Why: {one_line(found.text, _LINE)}." for found in record.findings[:FINDINGS])
    if record.done or record.alarm:
        yield f"Done: {one_line(sentence(words.done(record)), 2 * _LINE)}"
    if record.alarm:
        yield f"To do: {to_do(record)}"
    yield from (f"Note: {one_line(sentence(note), _LINE)}" for note in record.notes[:NOTES])


def since(record: Record) -> str:
    """Which month differs from which, and whether the month before differed already."""
    against = f", compared with {record.promised_month}" if record.promised_month else ""
    trips = f"{record.trips:,} trip{'' if record.trips == 1 else 's'}"
    shown = f"{record.month}{against}; {trips}, answered by version {record.champion}"
    is_older = record.value(f"change_within{LAST_MONTH}_low") > 0
    return f"{shown}. The error on the same rides had grown by the month before" if is_older else shown


def how_much(record: Record) -> str:
    """The parts of the change, as a sentence."""
    value = record.value
    if not math.isfinite(value("change")):
        return "the month of the promise is not known, so the change has no parts."
    interval = words.between(value("change_within_low"), value("change_within_high"))
    return (
        f"{words.signed(value('change'))} minutes: {words.signed(value('change_mix'))} from another mix of rides, "
        f"{words.signed(value('change_within'))}{interval} from the error on the same rides."
    )


def where(record: Record) -> str:
    """The slices whose error changed most, as a sentence; empty where the error on the same rides fell."""
    if record.value("change_within") <= 0:
        return ""
    found = [
        f"{name} {words.signed(minutes)} minutes ({words.percent(share)} of trips)"
        for name, minutes, share in record.slices[:SLICES]
    ]
    return f"{'; '.join(found)}." if found else "in all rides."


def to_do(record: Record) -> str:
    """What a person should do next, as a sentence."""
    faults = [found.cause for found in record.findings if found.is_fault]
    if faults:
        acts = dict.fromkeys(map(words.act, faults))
        again = command(f"monitor --month {record.month} ...")
        return f"{'; '.join(acts)}. Do not train on this month before that. Then compare it again: {again}"
    if record.action == "rollback":
        return (
            f"find out from its model card why version {record.champion} is worse, before it is promoted again. "
            "The next month trains as usual."
        )
    if record.action == "retrain":
        return "read the verdict of the new version."
    if record.alarm:
        return f"train on this month; if rides stay like this, the error goes down then: {command('train --help')}"
    return "nothing."


def sentence(text: str) -> str:
    """A text with a capital and a full stop.

    Examples
    --------
    >>> sentence("version 6 is champion again")
    'Version 6 is champion again.'
    """
    shown = text.strip()
    return f"{shown[:1].upper()}{shown[1:]}" + ("" if shown.endswith((".", "!", "?")) or not shown else ".")
