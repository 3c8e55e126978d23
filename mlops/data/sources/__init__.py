"""Sources of months: TLC's site, another web server, a bucket or a folder.

This is the only package that fetches trips over a network. A source reports the version of a file and delivers its
bytes; `cache` stores them. In reading order:

- `source`: what a source is, and the errors that all sources share
- `opening`: from the setting to a source
- `available`: which months a source has
- `web_site`: a web server with all files in one folder
- `folder`: a folder on this machine, in a bucket, or in another file system
"""

from mlops.data.sources.available import months_available
from mlops.data.sources.opening import open_source
from mlops.data.sources.source import (
    MAGIC,
    UNSURE,
    BrokenOffError,
    Progress,
    RedirectError,
    RefusedError,
    Source,
    file_name,
    not_parquet,
    publication,
)

__all__ = [
    "MAGIC",
    "UNSURE",
    "BrokenOffError",
    "Progress",
    "RedirectError",
    "RefusedError",
    "Source",
    "file_name",
    "months_available",
    "not_parquet",
    "open_source",
    "publication",
]
