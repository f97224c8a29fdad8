#!/usr/bin/env bash
# Install what the benchmarks compare, as its users have it: kuramori (.tools/kuramori) and borg 1.4 from PyPI
# (.tools/borg) with the distribution's Python, and zstd. Where that is not possible, the rows go without.
#
# The distribution's Python is built with optimisations that one from a version manager often lacks: without them both
# programs take 10 to 20 % longer.
set -u
cd "$(dirname "$0")/.."

headers=(liblz4-dev libxxhash-dev libacl1-dev libzstd-dev libssl-dev pkg-config gcc zstd python3-venv python3-dev)

if ! command -v zstd >/dev/null 2>&1 || ! [ -x .tools/borg/bin/borg ] || ! [ -x .tools/kuramori/bin/python ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${headers[@]}"; } >/dev/null 2>&1 || echo "apt-get could not install all of: ${headers[*]}"
    fi
fi

python=venv/bin/python
if /usr/bin/python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=/usr/bin/python3
fi

if [ ! -x .tools/kuramori/bin/python ]; then
    # The benchmark installs kuramori into it each time, so that it measures the sources as they are.
    { "$python" -m venv .tools/kuramori && .tools/kuramori/bin/python -m pip install --quiet \
        --disable-pip-version-check .; } >/dev/null 2>&1 \
        || { rm -rf .tools/kuramori; echo "kuramori could not be installed for $python: it runs from venv/"; }
fi

if [ ! -x .tools/borg/bin/borg ] && ! command -v borg >/dev/null 2>&1; then
    echo "building borg (some minutes)"
    { "$python" -m venv .tools/borg && .tools/borg/bin/python -m pip install --quiet \
        --disable-pip-version-check "borgbackup>=1.4,<2"; } >/dev/null 2>&1 \
        || { rm -rf .tools/borg; echo "borg could not be built; on Debian it needs: ${headers[*]}"; }
fi
exit 0
