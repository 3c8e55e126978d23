"""The command line: `python -m mlops`."""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType

from mlops import config, files, masking, progress
from mlops.command_line import training
from mlops.command_line.bars import bars
from mlops.command_line.parser import parse
from mlops.command_line.quick_start import quick_start
from mlops.errors import ConfigError, MlopsError

BROKEN_PIPE = 141  # as a shell names the end by SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status of a command: 0 success, 1 failure with a message, 2 wrong usage, 130 or 143 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a locale without UTF-8
    given = parse(arguments)
    quick_start()
    masking.mask_logs()
    with masking.outputs(is_terminal=True):
        _configure_logging(given.verbose)
        signal.signal(signal.SIGTERM, _terminate)
        with bars():
            return _act(given)


def _act(given: argparse.Namespace) -> int:
    try:
        config.state_dir()  # refuses a path before slow imports
        if not getattr(given, "dry_run", False):
            files.close_state()
        config.tracking_uri()
        status = int(given.act(given))
        sys.stdout.flush()  # here, where a reader that has gone is no error
        return status
    except BrokenPipeError:  # the reader has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        return BROKEN_PIPE
    except (MlopsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        is_run = given.act in (training.run_train, training.run_backfill)
        print(f"interrupted{'; the run was closed' if is_run else ''}", file=sys.stderr)
        return 130


def _configure_logging(verbose: bool) -> None:
    logging.basicConfig(handlers=[progress.to_stderr()], level=logging.WARNING)
    logging.getLogger("mlops").setLevel(logging.INFO)
    if verbose:
        logging.getLogger().setLevel(logging.INFO)
    else:
        warnings.simplefilter("ignore")  # warnings of libraries; --verbose shows them
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # each retry; this package logs the outcome


def _terminate(number: int, frame: FrameType | None) -> None:
    """Turn SIGTERM into an exception, so that the run is closed before the process ends."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
