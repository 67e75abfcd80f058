# The app in a container. docs/deploy.md shows how to run it.
#
#   docker build --tag lesion-lens --build-arg ENGINE=slim .     LiteRT
#   docker build --tag lesion-lens --build-arg ENGINE=keras .    Keras on TensorFlow

# Any base image works that has Python 3.11, 3.12 or 3.13 with pip and venv, and glibc, which the wheels need.
ARG BASE=python:3.12-slim-bookworm
# Debian 12's buildah (1.28) ignores this default in FROM, so the commands above name the engine.
ARG ENGINE=slim

FROM ${BASE} AS slim
ENV MODEL_PATH=best_model.tflite
COPY requirements-slim.txt /app/requirements.txt

FROM ${BASE} AS keras
ENV MODEL_PATH=best_model.h5
COPY requirements.txt /app/requirements.txt

FROM ${ENGINE}
LABEL org.opencontainers.image.title="Lesion Lens" \
      org.opencontainers.image.description="Which of seven classes a dermatoscopic image most likely shows: a study tool, not a diagnosis." \
      org.opencontainers.image.licenses="MIT AND CC-BY-NC-4.0"
WORKDIR /app

# The packages come before the code, so that a change to the code does not reinstall them. They go into
# a virtual environment, because Debian's pip refuses to install outside one.
RUN python3 -m venv --without-pip /opt/venv \
    && python3 -m pip --python /opt/venv/bin/python install --no-cache-dir \
        --require-hashes --only-binary :all: --requirement requirements.txt
ENV PATH=/opt/venv/bin:${PATH}

COPY LICENSE LICENSE-MODEL.md pyproject.toml gunicorn.conf.py ./
COPY app.py skin_cancer_detection.py ${MODEL_PATH} ./
COPY static static/
COPY templates templates/
COPY lesion_lens lesion_lens/
# The user below must be able to read the files, even after a checkout with umask 077.
RUN chmod --recursive a+rX /app

# A number instead of a name, so that Kubernetes can check that the user is not root.
USER 10001:10001
EXPOSE 8000
# Uses http.client, because urllib would send the request to the proxy that HTTP_PROXY names.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT', 8000)), timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["gunicorn", "app:app"]
