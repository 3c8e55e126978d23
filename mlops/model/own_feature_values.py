"""`OwnFeature`: a feature that a person adds in `own_features`, and how its values are computed and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError, MlopsError, one_line

Array = npt.NDArray[Any]
PLACE = "mlops/model/own_features.py"
DISTANCE = "distance_miles"


@dataclass(frozen=True)
class OwnFeature:
    """A feature of one's own.

    Parameters
    ----------
    name : str
        Name of the column: letters, digits and ``_``.
    meaning : str
        What it says, with its unit, in one line. The table of features and the model card show it.
    values : callable
        Maps the columns of n requests to n numbers; `own_features` names the columns.
    needs_distance : bool
        Whether it reads ``distance_miles``. Then it is omitted where there is no distance: with `use_distance`
        off, and in the trees for requests without a distance.
    """

    name: str
    meaning: str
    values: Callable[[Mapping[str, Array]], Any]
    needs_distance: bool = False


def usable_ones(own: Any) -> tuple[OwnFeature, ...]:
    """The features among the values of `OWN_FEATURES`.

    Others are left out here, so that a wrong list does not prevent the import of every module. A run refuses it.
    """
    listed = own if isinstance(own, tuple | list) else ()
    return tuple(feature for feature in listed if isinstance(feature, OwnFeature))


def values_of(own: Any, columns: Mapping[str, Array], strict: bool = False) -> dict[str, Array]:
    """Values of one's own features.

    Parameters
    ----------
    own : sequence of OwnFeature
    columns : mapping of str to array of shape (n,)
        ``pickup_at`` and the standard features.
    strict : bool
        Whether a negative or infinite value is an error. Otherwise it is missing.

    Returns
    -------
    dict of str to float32 array of shape (n,)
        By name; 0 or more, NaN for missing.

    Raises
    ------
    ConfigError
        With `strict`, for a negative or infinite value.
    MlopsError
        When a function fails, or does not return n numbers.
    """
    given = {name: _for_a_function(values) for name, values in columns.items()}
    return {feature.name: _values(feature, given, strict) for feature in usable_ones(own)}


def _for_a_function(values: Array) -> Array:
    """Values as a person expects them: whole numbers do not overflow at 127, and nobody can change them."""
    if values.dtype.kind in "biu":
        values = values.astype(np.int64)
    elif values.dtype.kind == "f":
        values = values.astype(np.float64)
    else:
        values = values.copy()
    values.flags.writeable = False
    return values


def _values(feature: OwnFeature, columns: Mapping[str, Array], strict: bool) -> Array:
    given = {name: column for name, column in columns.items() if feature.needs_distance or name != DISTANCE}
    try:
        with np.errstate(all="ignore"):  # a division by zero is infinite, which is checked below
            found = np.asarray(feature.values(given))
    except Exception as error:  # whatever the person's code raises
        raise MlopsError(f"{about(feature)} failed: {_in_words(error, given)}") from error
    rows = len(columns["pickup_at"])
    if found.shape != (rows,) or found.dtype.kind not in "biuf":
        raise MlopsError(
            f"{about(feature)}: expected an array of one number for each request, here {rows:,}; "
            f"got {_shape(found)}. Correct its function"
        )
    with np.errstate(over="ignore"):
        values = found.astype(np.float32)
    wrong = np.isinf(values) | (values < 0)
    if strict and wrong.any():
        raise _impossible(feature, columns, values, wrong)
    return np.where(wrong, np.float32(np.nan), values)


def about(feature: OwnFeature) -> str:
    """The feature and its place, for a message."""
    return f"{PLACE}: feature {feature.name!r}"


def _in_words(error: Exception, given: Mapping[str, Array]) -> str:
    if isinstance(error, KeyError) and error.args == (DISTANCE,):
        return f"it reads {DISTANCE!r}. Say so: OwnFeature(..., needs_distance=True)"
    text = f"{type(error).__name__}: {one_line(error, 300)}"
    return f"{text}. Its function is called with the columns {', '.join(given)}. Correct it"


def _shape(found: Array) -> str:
    if found.dtype.kind not in "biuf":
        return f"values of type {found.dtype}"
    return "one number for all" if found.shape == () else f"an array of shape {found.shape}"


def _impossible(
    feature: OwnFeature, columns: Mapping[str, Array], values: Array, wrong: Array
) -> ConfigError:
    first = int(np.flatnonzero(wrong)[0])
    return ConfigError(
        f"{about(feature)}: expected finite numbers of 0 or more, and NaN for missing; got {values[first]:g} for "
        f"{int(wrong.sum()):,} of {len(values):,} trips, the first with pickup_at "
        f"{np.datetime_as_string(columns['pickup_at'][first], unit='s')}. Correct its function, for example with "
        "np.where(values >= 0, values, np.nan)"
    )
