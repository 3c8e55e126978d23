# Mage with this project. Mage's own image is not used: it has Python 3.10, and if the requirements
# cannot be installed, it only prints a warning and starts.
FROM python:3.11.15-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet
# GIT_PYTHON_REFRESH: the slim image has no git, and GitPython would warn at every import.

# The locked requirements first, so that a change of the project's code reinstalls nothing.
COPY requirements.txt /tmp/
RUN pip install -r /tmp/requirements.txt && rm /tmp/requirements.txt

# A new named volume gets the owner of the folder on which it is mounted.
RUN useradd --create-home --uid 1000 mage \
    && install --directory --owner mage --group mage /srv/trip_duration /var/lib/mage /var/lib/mlops

# Mage stores its data under this folder's name and adds the parent folder to sys.path. So the parent
# contains nothing else, and the name is not the name of a package.
WORKDIR /srv/trip_duration
# Owned by the user, because the editor writes pipelines and triggers. These changes are lost with
# the container; commit what should be kept.
COPY --chown=mage:mage . .
RUN pip install --no-deps --editable . --config-settings editable_mode=compat
USER mage

EXPOSE 6789
# The command is in docker-compose.yml, together with its settings.
