"""A person moves `champion`; where that overrides a verdict, the version's model card says so, too."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from mlops import config
from mlops.errors import MlopsError
from mlops.evaluation import model_card
from mlops.registry import operator, run_history
from mlops.registry.operator import Moved

logger = logging.getLogger(__name__)


def promote(name: str, number: str, reason: str, agree: Callable[[str], None]) -> Moved:
    """As `operator.promote`; a verdict that was overridden is noted on the version's card."""
    return _noted(operator.promote(name, number, reason, agree))


def rollback(name: str, reason: str, to: str | None = None) -> Moved:
    """As `operator.rollback`; a verdict that was overridden is noted on the version's card."""
    return _noted(operator.rollback(name, reason, to))


def _noted(moved: Moved) -> Moved:
    """The same; a card that cannot be changed undoes no move."""
    if moved.override:
        try:
            with tempfile.TemporaryDirectory(dir=config.state_dir()) as folder:
                markdown, page = run_history.card_of(moved.version, Path(folder))
            run_history.replace_card(
                moved.version, *model_card.with_note(markdown, page, str(moved.override))
            )
        except (MlopsError, OSError) as error:
            logger.warning("%s: its model card does not show the override: %s", moved.version.uri, error)
    return moved
