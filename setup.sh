#!/bin/sh
# Makes the virtual environment given as argument: checks what the system must have, installs pinned dependencies.
set -eu
venv=$1
python=${PYTHON:-python3}

missing=""
command -v "$python" >/dev/null 2>&1 || missing="$missing python3"
command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 || missing="$missing g++"
command -v perl >/dev/null 2>&1 || missing="$missing perl"
command -v make >/dev/null 2>&1 || missing="$missing make"
if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c "" 2>/dev/null; then
    :
elif ! "$python" -c "import ensurepip, venv" >/dev/null 2>&1; then
    missing="$missing python3-venv"
fi

if [ -n "$missing" ]; then
    line="apt-get install -y$missing"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing:$missing"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive $line
    else
        echo "missing:$missing. Type this, then make again:" >&2
        echo "    sudo $line" >&2
        exit 1
    fi
fi

if ! "$python" -c "import sys; sys.exit(sys.version_info < (3, 11))"; then
    echo "Python 3.11 or newer is needed, not $("$python" -V 2>&1). Type: make PYTHON=python3.11 (or newer)" >&2
    exit 1
fi

if ! "$venv/bin/python" -c "" 2>/dev/null; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
"$venv/bin/python" -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test]'
