"""What the model sees of a request; mlops/model/features.py is the only place that defines it."""

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import test, transformer

from mlops.mage import from_mage
from mlops.pipeline import months_table, steps


@transformer
def build_features(months, *args, **variables):
    """One row per feature: its meaning, how often it is missing, least, mean and most."""
    settings = from_mage(variables)
    return steps.build_features(months, settings)


@test
def features_are_sound(summary, *args):
    months_table.check_features(summary)
