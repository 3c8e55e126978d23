"""Compares each published month with what the champion had promised, says why it differs, and reacts.

In reading order:

- `steps`: the story: the three steps of the pipeline
- `settings`: settings of monitoring one month
- `months`: which month is compared, and which months came before
- `served`: which versions served
- `comparing`: a month compared with the promise
- `answers`: what the versions answer, kept on disk
- `cells`: groups of similar rides
- `sums`: errors by day and cell
- `measures`: errors overall and by slice
- `changes`: the change of the error in two parts: mix, and error at constant mix
- `samples`: trips to compare inputs with
- `drift`: how far each input moved, of the trips or of the requests
- `faults`: what may be wrong with the data
- `causes`: alarm or not, and why
- `estimates`: the error to expect before durations are known
- `judging`: a compared month with its alarm and causes, kept for the next step
- `reactions`: rollback and retraining
- `message`: the one message about it
- `drawings`: charts of the report
- `report`: the report as a page
- `publishing`: the month in MLflow
- `blocks`: settings of the Mage blocks, and the tests of what a step returned
- `before_labels`: the error to expect of a month that is not published, from the request log
- `asked`: what a command line asks for
- `printed`: what it prints for programs, as records
- `by_command`: the answer to a command line

What is kept of a compared month is `registry.monitoring_record`, because the service reads it, too.
"""
