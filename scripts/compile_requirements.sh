#!/bin/sh
# Pin requirements.in and requirements-dev.in, for every platform and Python at once.
set -eu
cd "$(dirname "$0")/.."
compile() {
    uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --no-header \
        --no-emit-index-url --no-emit-find-links "$@"
}
compile --output-file requirements.txt requirements.in
{
    echo "-r requirements.txt"
    compile requirements-dev.in
} >requirements-dev.txt
