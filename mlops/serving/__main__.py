"""The command line: ``python -m mlops.serving``. The service runs in its own environment, ``.venv-serving``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from mlops import config, files, masking
from mlops.errors import ConfigError, MlopsError
from mlops.serving import keys
from mlops.serving.settings import ServeSettings

KEYS_FILE = "keys"  # below `config.state().serving`, where the settings name no other file


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 when it was stopped, 1 failure with a message, 2 wrong usage."""
    given = vars(parser().parse_args(arguments))
    name = given.pop("name", None)
    masking.mask_logs()
    with masking.outputs(is_terminal=True):
        try:
            config.state_dir()  # it and the next one refuse a mistake before slow imports
            config.tracking_uri()
            files.close_state()
            settings = ServeSettings.from_environment(given)
            return _make_key(settings, name) if name else _serve(settings)
        except (MlopsError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2 if isinstance(error, ConfigError) else 1
        except KeyboardInterrupt:
            return 130


def _serve(settings: ServeSettings) -> int:
    from mlops.serving import server  # here, so that a mistake in the settings is shown at once

    return server.serve(settings)


def _make_key(settings: ServeSettings, name: str) -> int:
    path = settings.keys_file or config.state().serving / KEYS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    key = keys.add(path, name)
    print(key)
    print(f"this key is shown only now; {path} has its sha256", file=sys.stderr)
    return 0


def parser() -> argparse.ArgumentParser:
    """Options of the command line: one for each setting; those that are not given are not in the result."""
    found = argparse.ArgumentParser(
        prog="python -m mlops.serving",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        description="""\
Answer over HTTP how long taxi rides take, with the champion of each service: POST /predict, GET /model, /docs.
It follows the champions, and answers with the last good ones while the registry is away.""",
        epilog="""\
Each setting is also an environment variable: SERVE_PORT for --port. State folder and registry are those of
MLOPS_STATE_DIR and MLFLOW_TRACKING_URI.

examples:
  python -m mlops.serving                            every champion there is, on 127.0.0.1:8000
  python -m mlops.serving --services green --port 8001
  python -m mlops.serving key planner                make an API key for "planner", and show it""",
    )
    group = found.add_argument_group("settings")
    for name, field in ServeSettings.model_fields.items():
        option = f"--{name.replace('_', '-')}"
        described = f"{field.description} (default: {_shown(field.default)})"
        if field.annotation is bool:
            group.add_argument(option, action="store_true", help=described)
        else:
            kinds = (field.annotation, *get_args(field.annotation))
            kind = next((each for each in (int, float, Path) if each in kinds), str)
            group.add_argument(option, metavar=kind.__name__.upper(), help=described)
    commands = found.add_subparsers(title="other commands", metavar="key NAME")
    key = commands.add_parser(
        "key", help="Make an API key and show it once; the file of keys gets its sha256."
    )
    key.add_argument("name", metavar="NAME", help="Who gets it: the name in limits and logs.")
    return found


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return str(default) if default not in (None, ()) else "none"


if __name__ == "__main__":
    sys.exit(main())
