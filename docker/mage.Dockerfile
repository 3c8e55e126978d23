# Mage with this project. Mage's own image is not used: it has Python 3.10, and if the requirements
# cannot be installed, it only prints a warning and starts.
FROM python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet
# GIT_PYTHON_REFRESH: the slim image has no git, and GitPython would warn at every import.

# The locked requirements first, so that a change of the project's code reinstalls nothing.
# As in the Makefile: each package has its hash in a lock, and what has no wheel is built with locked packages.
COPY requirements.txt requirements-build.txt /tmp/
RUN pip install --require-hashes --only-binary :all: -r /tmp/requirements-build.txt \
    && pip install --require-hashes --no-build-isolation -r /tmp/requirements.txt \
    && rm /tmp/requirements*.txt

# A new named volume gets the owner of the folder on which it is mounted.
RUN useradd --create-home --uid 1000 mage \
    && install --directory --owner mage --group mage /srv/trip_duration /var/lib/mage /var/lib/mlops

# The library, and what the image brings for the Mage project.
COPY . /opt/trip_duration
RUN pip install --no-index --no-deps --no-build-isolation --config-settings editable_mode=compat \
    --editable /opt/trip_duration

# Mage serves a copy of the project, in a volume: what is changed in Mage's pages stays when the container is
# replaced. The entry point makes the copy, and brings it up to date when the image is newer.
# Mage stores its data under this folder's name and adds the parent folder to sys.path. So the parent
# contains nothing else, and the name is not the name of a package.
WORKDIR /srv/trip_duration
ENTRYPOINT ["python", "-m", "stack.mage_project"]
USER mage

EXPOSE 6789
# The command is in docker-compose.yml, together with its settings.
