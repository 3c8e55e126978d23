"""From TLC's files to clean trips.

In reading order:

- `retries`: how often and how long a source that fails is asked again
- `sources`: where months come from: TLC's site, another web server, a folder, a bucket
- `synthetic`: a source without a network: the months of an invented city
- `cache`: the local copy of a month, whole or not at all
- `trips`: a raw file to clean trips; every rejection is counted by rule
- `schemas`: what every clean trip must be
- `revisions`: what changed from one file to the next, and in a month that was published again
- `split`: which months teach, tune and test
- `quality`: whether a month can be trusted beside those before it
- `ingest`: a run's months: fetched, checked, described in a table
"""
