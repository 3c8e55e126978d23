"""From TLC's files to clean trips.

In reading order:

- `retries`: how often and how long a request to a failing source is repeated
- `sources`: where months come from: TLC's site, another web server, a folder, a bucket
- `synthetic`: a source without a network: generated months of a synthetic city
- `zones`: names and boroughs of zones, TLC's and the synthetic city's
- `zone_map`: a map of zones as shapes that a page can draw
- `zone_shapefile`: from TLC's zip of zones to a map, in a process of its own
- `zone_shapes`: the shapes of zones, TLC's and the synthetic city's
- `cache`: local copies of months, each complete or absent
- `parquet_footer`: how the columns of a Parquet file are stored
- `parquet_pages`: what the pages of a Parquet file unpack to
- `ceilings`: how large a month's file, its row groups and its pages may be
- `raw_trips`: from a raw file to batches of trips, or an error that says what is wrong with the file
- `duplicates`: rows that repeat an earlier row of the same file
- `trip_samples`: a small sample of a month's trips with the rule that rejected each
- `trips`: from raw trips to clean trips; every rejection is counted by rule
- `trip_counts`: clean trips counted by weekday, hour and duration
- `schemas`: the contract that every clean trip fulfils
- `revisions`: schema changes between months, and row changes in a republished month
- `split`: which months are for training, validation and test
- `quality`: refuses months with missing days, and months that are unlike the months before them
- `request_log_files`: what the service was asked and answered: the columns of its log, and how they are read
- `ingest`: fetches and checks the months of a run, and describes them in a table
- `run_plan`: what a run would do, for a dry run
"""
