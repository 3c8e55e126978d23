"""Parameters in the address of a request: read, checked, and described."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request

from mlops.serving.problems import MOST_ERRORS, MOST_SHOWN, FieldError, ProblemError, shown, unprocessable


def read(
    request: Request, optional: Sequence[str], required: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The parameters of a request.

    Parameters
    ----------
    request : Request
    optional : sequence of str
        Parameters that it may have.
    required : mapping of str to str, optional
        What each parameter must be that it must have; only whether it is there is checked.

    Raises
    ------
    ProblemError
        422 for an unknown parameter, one that comes twice, and one that is missing.
    """
    rules = required or {}
    known = (*rules, *optional)
    given = request.query_params.multi_items()
    count = Counter(name for name, _ in given)
    unknown = [(name, text) for name, text in given if name not in known]
    errors = [_unknown(name, text, known) for name, text in unknown[:MOST_ERRORS]]
    errors += [
        FieldError(name, "each parameter once", f"it {count[name]} times")
        for name in known
        if count[name] > 1
    ]
    errors += [FieldError(name, rule, "nothing") for name, rule in rules.items() if not count[name]]
    if errors:
        raise unprocessable(errors, len(errors) + max(0, len(unknown) - MOST_ERRORS))
    return dict(given)


def _unknown(name: str, text: str, known: Sequence[str]) -> FieldError:
    name = name[:MOST_SHOWN]
    near = difflib.get_close_matches(name, known, n=1)
    rule = f"no other parameter than {', '.join(known)}{f' (is it {near[0]}?)' if near else ''}"
    return FieldError(name, rule, shown(text))


def unknown_service(name: str, known: Sequence[str]) -> ProblemError:
    """The problem of a request for a service that is not served here."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; is it {near[0]}?" if near else ""
    rule = f"one of {', '.join(known)}, which are served here{hint}"
    return unprocessable([FieldError("service", rule, shown(name))])


def parameter(name: str, about: str, example: object, *, is_required: bool = True) -> dict[str, Any]:
    """A parameter in the OpenAPI description."""
    return {
        "name": name, "in": "query", "required": is_required, "description": about,
        "schema": {"type": "string"}, "example": example,
    }  # fmt: skip
