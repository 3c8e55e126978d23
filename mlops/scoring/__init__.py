"""Scoring: predict the durations of all requests in files, with a registered version.

In reading order:

- `settings`: settings of one scoring run
- `newest`: the newest month of a source
- `fetching`: inputs that are not on this machine
- `inputs`: which files are scored: a month, a file, a folder or a URL
- `values`: from a column of a file to an array that a model reads, and what cannot be read
- `columns`: which column of a file is which request column
- `reading`: a file as batches of request columns, as they are in the file
- `answering`: a batch as answered rows and rejected rows
- `counts`: how many rows of a file were answered and rejected, and how good the answers are
- `drafts`: the files of a result while they are written, and its summary
- `profile`: names and credentials from a profile of Mage
- `exports`: where results go: a folder, a bucket or a table
- `bucket`: results in a bucket
- `database`: results in tables of PostgreSQL
- `results`: the result of one file, written batch by batch
- `score`: all inputs of a run, from the setting to the results
- `steps`: the steps of the Mage pipeline
"""
