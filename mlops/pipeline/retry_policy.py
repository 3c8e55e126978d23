"""Which errors another try may mend. Schedulers that retry ask here, so that a wrong setting fails at once."""

from __future__ import annotations

from mlops.errors import BusyError, DownloadError, MlopsError, TrackingDownError

MAY_PASS = (DownloadError, TrackingDownError, BusyError)


def is_worth_retrying(error: BaseException) -> bool:
    """Whether the cause may be gone in a minute: a network, a server or another run; not a setting or the data.

    An error that is none of this package's counts by its kind: the system's, such as a full disk or a lost
    connection, may pass. A bug stays a bug.

    Examples
    --------
    >>> from mlops.errors import ConfigError, DownloadError
    >>> is_worth_retrying(DownloadError("timed out")), is_worth_retrying(ConfigError("month: got 'March'"))
    (True, False)
    """
    return isinstance(error, MAY_PASS) or (isinstance(error, OSError) and not isinstance(error, MlopsError))
