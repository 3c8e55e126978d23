"""Clean the trips. Put rules of your own into OWN_RULES: their rejections are counted, and the card shows them."""

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import test, transformer

from mlops.data.trips import Rule, with_own
from mlops.mage import from_mage
from mlops.pipeline import months_table, steps

# For example (Rule("over_30_miles", lambda trips, month: trips["distance_miles"] > 30),)
OWN_RULES: tuple[Rule, ...] = ()


@transformer
def clean_trips(months, *args, **variables):
    """One row per month: rows, rows kept, rows rejected by each rule, and what is unusual."""
    settings = from_mage(variables)
    return steps.clean_trips(months, settings, rules=with_own(OWN_RULES))


@test
def every_row_is_accounted_for(months, *args):
    months_table.check_cleaned(months)
