"""Clean the trips. Put rules of your own into OWN_RULES: their rejections are counted, and the card shows them."""

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import test, transformer

from mlops.data.trips import Rule, with_own
from mlops.mage import from_mage
from mlops.pipeline import block_tables, months_table, steps

# For example (Rule("over_30_miles", lambda trips, month: trips["distance_miles"] > 30),)
OWN_RULES: tuple[Rule, ...] = ()


@transformer
def clean_trips(loaded, *args, **variables):
    """One row per month: trips, trips kept, trips that each rule rejects, and whether the month is unusual."""
    settings = from_mage(variables)
    months = block_tables.months_of(loaded)
    return block_tables.of_cleaned(steps.clean_trips(months, settings, rules=with_own(OWN_RULES)))


@test
def every_row_is_accounted_for(shown, *args):
    months_table.check_cleaned(block_tables.months_of(shown))
