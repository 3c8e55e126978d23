"""What the model sees of a request; mlops/features.py is the only place that defines it."""

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import test, transformer

from mlops import checks, pipeline
from mlops.blocks import from_mage


@transformer
def build_features(months, *args, **variables):
    """One row per feature: its meaning, how often it is missing, least, mean and most."""
    settings = from_mage(variables)
    return pipeline.build_features(months, settings)


@test
def features_are_sound(summary, *args):
    checks.check_features(summary)
