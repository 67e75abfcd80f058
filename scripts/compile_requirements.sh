#!/bin/sh
# Pin requirements.in, requirements-slim.in and requirements-dev.in, for every platform and Python at once.
set -eu
cd "$(dirname "$0")/.."
compile() {
    uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest --no-header \
        --no-emit-index-url --no-emit-find-links "$@"
}
compile --output-file requirements.txt requirements.in
compile --output-file requirements-slim.txt requirements-slim.in
pins=$(compile requirements-dev.in)
printf '%s\n' "-r requirements.txt" "$pins" >requirements-dev.txt
