#!/usr/bin/env bash
# Make venv/ with a Python of 3.11 or later; where that is not possible, say what to install.
set -eu
cd "$(dirname "$0")/.."

find_python() {
    local candidate
    for candidate in "${KURAMORI_PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

if ! python=$(find_python); then
    echo "kuramori needs Python 3.11 or later, and there is none here." >&2
    if command -v apt-get >/dev/null 2>&1; then
        echo "Install it with: sudo apt-get install python3 python3-venv   (Debian 12, Raspberry Pi OS 12 or later)" >&2
    else
        echo "Install it from your system's packages or from python.org." >&2
    fi
    exit 1
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing python3-venv"
        (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv) >/dev/null
    else
        echo "Python's venv module is missing. Install it with: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi

if [ ! -x venv/bin/python ] || ! venv/bin/python -c 'import pip' 2>/dev/null; then
    echo "making venv/ with $("$python" --version)"
    rm -rf venv
    "$python" -m venv venv
fi
