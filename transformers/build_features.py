"""Build the model's features; their only definition is in mlops/model/features.py."""

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import test, transformer

from mlops.mage import from_mage
from mlops.pipeline import block_tables, months_table, steps


@transformer
def build_features(cleaned, *args, **variables):
    """One row per feature: its share of missing values, minimum, mean and maximum; the log says what it means."""
    settings = from_mage(variables)
    months = block_tables.months_of(cleaned)
    return block_tables.of_features(steps.build_features(months, settings))


@test
def features_are_sound(shown, *args):
    months_table.check_features(block_tables.full_table(shown))
