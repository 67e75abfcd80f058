#!/bin/sh
# Pin requirements*.in with hashes, for every platform and Python at once. Pinned versions stay as
# they are, unless `--upgrade` or `--upgrade-package NAME` is given.
# Wheels alone: what a source archive is built with would be fetched without a hash.
set -eu
cd "$(dirname "$0")/.."
for name in requirements requirements-slim requirements-dev; do
    uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
        --only-binary :all: --emit-build-options --no-header --no-emit-index-url --no-emit-find-links \
        "$@" --output-file $name.txt $name.in
done
pins=$(cat requirements-dev.txt)
printf '%s\n' "-r requirements.txt" "$pins" >requirements-dev.txt
