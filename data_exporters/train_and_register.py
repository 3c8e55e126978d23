"""Tune on the validation month, fit again, test on the test month, register, and apply the verdict."""

if "data_exporter" not in globals():
    from mage_ai.data_preparation.decorators import data_exporter, test

from mlops.mage import from_mage, run_of
from mlops.pipeline import block_tables, leaderboard, steps


@data_exporter
def train_and_register(features, *args, **variables):
    """The new version, its baseline and the champion it was compared with, then the trials, best first."""
    settings = from_mage(variables)
    summary = block_tables.full_table(features)
    return block_tables.of_result(steps.train_and_register(summary, settings, asked_by=run_of(variables)))


@test
def version_is_registered(shown, *args):
    leaderboard.check_leaderboard(block_tables.full_table(shown))
