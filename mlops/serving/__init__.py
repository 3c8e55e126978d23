"""The service: the champions over HTTP. It runs in an environment of its own, ``requirements-serving.txt``.

In reading order:

- `settings`: settings of the service
- `problems`: what a client gets instead of an answer
- `questions`: what a client may ask
- `plain_lists`: lists in the usual form, read faster
- `errors`: errors of the service
- `served`: a version that answers, and the trial before it does
- `memory`: which version was served last, and copies of versions, on disk
- `champions`: asks the registry; the only module here that imports MLflow
- `following`: follows the champion of one service
- `compared`: the compared months of the models, ``/monitoring``
- `overview`: whether all is well, ``/status``
- `models`: the versions that answer
- `places`: names and shapes of the zones of each service
- `answers`: what a client gets
- `answering`: from requests to answers
- `together`: large bodies, of which those that wait are answered together
- `asgi`: what the middlewares share
- `headers`: an id for each request, and the headers for security
- `keys`: API keys
- `limits`: limits of rate, concurrency and size
- `request_log`: a sample of what was asked and answered
- `metrics`: numbers for Prometheus
- `predict`: ``POST /predict``
- `cacheable`: answers that a client may keep
- `queries`: parameters in the address of a request
- `zone_list`: ``GET /zones``
- `trained_rides`: how many rides between two zones a model has learnt from
- `ride_counts`: ``GET /rides``
- `status`: ``/model``, ``/healthz`` and ``/readyz``
- `description`: the OpenAPI description
- `page`: the same as a page, ``/docs``
- `rider`: the page for riders, ``/``
- `app`: the routes, and the middlewares around them
- `zone_choice`: a zone as a person writes it on the command line
- `one_ride`: one ride, for the command `predict`
- `server`: takes the port, and runs the application

`__main__` is the command line.
"""
