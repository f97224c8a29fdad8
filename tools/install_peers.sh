#!/usr/bin/env bash
# Install what the benchmarks compare with besides restic: borg 1.4 from PyPI into .tools/borg, and zstd.
# Where that is not possible, the rows go without.
set -u
cd "$(dirname "$0")/.."

headers=(liblz4-dev libxxhash-dev libacl1-dev libzstd-dev libssl-dev pkg-config gcc zstd)

if ! command -v zstd >/dev/null 2>&1 || ! { [ -x .tools/borg/bin/borg ] || command -v borg >/dev/null 2>&1; }; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${headers[@]}"; } >/dev/null 2>&1 || echo "apt-get could not install all of: ${headers[*]}"
    fi
fi

if [ ! -x .tools/borg/bin/borg ] && ! command -v borg >/dev/null 2>&1; then
    echo "building borg (some minutes)"
    { venv/bin/python -m venv .tools/borg && .tools/borg/bin/python -m pip install --quiet \
        --disable-pip-version-check "borgbackup>=1.4,<2"; } >/dev/null 2>&1 \
        || { rm -rf .tools/borg; echo "borg could not be built; on Debian it needs: ${headers[*]}"; }
fi
exit 0
