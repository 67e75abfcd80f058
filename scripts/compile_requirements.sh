#!/bin/sh
# Pin requirements*.in with hashes, for all platforms and Python versions at once. Pinned versions
# stay unchanged unless you pass `--upgrade` or `--upgrade-package NAME`.
# Only wheels: the build dependencies of a source archive would be fetched without a hash.
set -eu
cd "$(dirname "$0")/.."
for name in requirements requirements-slim requirements-dev; do
    uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
        --only-binary :all: --emit-build-options --no-header --no-emit-index-url --no-emit-find-links \
        "$@" --output-file $name.txt $name.in
done
pins=$(cat requirements-dev.txt)
printf '%s\n' "-r requirements.txt" "$pins" >requirements-dev.txt
