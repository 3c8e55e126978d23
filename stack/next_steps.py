"""What to look at and to do after `make demo`: ``python -m stack.next_steps MODEL``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlops import config
from mlops.errors import MlopsError
from mlops.registry import client, run_history, server_facts, versions
from mlops.registry.versions import Version

CARD = "model_card.html"
REQUEST = (
    '{"pickup_at": "2023-07-03T08:30", "pickup_zone": 74, "dropoff_zone": 41, "distance_miles": 2.5, '
    '"passenger_count": 1}'
)


def lines(model: str) -> Iterator[str]:
    """Lines for a terminal: where the champion and its card are, and three things to do next.

    Raises
    ------
    MlopsError
        When the store does not answer.
    """
    client.connect(config.tracking_uri(), config.state_dir(), timeout=5.0)
    found = versions.champion(model)
    if found is None:
        return
    port = os.environ.get("SERVE_PORT") or "8000"  # as in the Makefile
    yield from ("", f"the model   {server_facts.shown_at(versions.page_of(found))}")
    if card := card_of(found):
        yield f"its card    {card}"
    yield from (
        "",
        "next:",
        "  look at the card   open its address in a browser: how good the model is, and for which rides it is not",
        "  make editor        the four steps as a notebook: look at trips, try rules and features of your own",
        f"  make serve         then open http://127.0.0.1:{port}/ and pick a ride on the map; programs ask so:",
        f"    curl -s http://127.0.0.1:{port}/predict -H 'Content-Type: application/json' -d '{REQUEST}'",
    )


def card_of(version: Version) -> str:
    """Address of a version's model card, if it is a file of this machine; otherwise empty."""
    if run_history.stage_of(version.run_id) == run_history.GONE:
        return ""
    place = urlsplit(str(client.mlflow_client().get_run(version.run_id).info.artifact_uri))
    card = Path(unquote(place.path)) / CARD
    return card.as_uri() if place.scheme in ("", "file") and card.is_file() else ""


def main() -> None:
    """Print the lines; an error is shown as the command line shows it."""
    try:
        print("\n".join(lines(sys.argv[1])))  # noqa: T201 - a command of make
    except MlopsError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
