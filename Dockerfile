# The service's image. Build: make image, or docker build --build-arg APP_VERSION=v1 -t flask:v1 .
# BASE by digest builds the same image again: --build-arg BASE=python:3.13-slim@sha256:... (docs/security.md).
ARG BASE=python:3.13-slim
FROM $BASE AS build
COPY requirements.txt .
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --no-compile --require-hashes -r requirements.txt \
    && find /venv -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +

FROM $BASE
# tini is PID 1: Python as PID 1 ignores a SIGTERM until its handler is installed.
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
    # pip is of no use here; where Python is Debian's own, so is pip
    && (python -m pip uninstall -y -q pip || dpkg --purge --force-depends python3-pip python3-wheel)
COPY --from=build /venv /venv
WORKDIR /srv
COPY app app
COPY packages/gunicorn-drain/src packages/gunicorn-fast/src ./
COPY gunicorn.conf.py LICENSE NOTICE ./
RUN /venv/bin/python -m compileall -q /venv .

ARG APP_VERSION=dev
ENV APP_VERSION=$APP_VERSION \
    LOG_FORMAT=json \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/venv/bin:$PATH
LABEL org.opencontainers.image.title="flask" \
      org.opencontainers.image.description="A Flask/Gunicorn service whose rolling updates lose no request" \
      org.opencontainers.image.version=$APP_VERSION
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "gunicorn"]
