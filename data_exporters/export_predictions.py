"""Deliver the results to where the variable `to` says: a folder, a bucket or PostgreSQL."""

if "data_exporter" not in globals():
    from mage_ai.data_preparation.decorators import data_exporter, test
from mage_ai.io.config import ConfigFileLoader

from mlops.pipeline import block_tables
from mlops.scoring import steps

PROFILE = "default"  # of io_config.yaml: addresses and credentials that the variable `to` does not have


@data_exporter
def export_predictions(scored, *args, **variables):
    """One row per result: its rows, where it is now, and whether it was there before."""
    settings = steps.from_mage(variables)
    summary = block_tables.full_table(scored)
    return steps.export_predictions(summary, settings, ConfigFileLoader(profile=PROFILE).config)


@test
def every_row_is_accounted_for(delivered, *args):
    steps.check_rows(delivered)
