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
command -v tclsh >/dev/null 2>&1 || missing="$missing tcl"  # runs the generated Vivado scripts in the tests
if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c "" 2>/dev/null; then
    :
elif ! "$python" -c "import ensurepip, venv" >/dev/null 2>&1; then
    missing="$missing python3-venv"
fi

provide() {  # packages: install them when root, else name the line to type
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing: $*"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y "$@"
    else
        echo "missing: $*. Type this, then make again:" >&2
        echo "    sudo apt-get install -y $*" >&2
        exit 1
    fi
}

if [ -n "$missing" ]; then
    provide $missing
fi

# Looks at the report in the tests. Nothing else needs it, so that its absence stops nobody.
if ! command -v chromium >/dev/null 2>&1 && ! command -v google-chrome >/dev/null 2>&1; then
    (provide chromium) || echo "without chromium all works but the test of the report's looks" >&2
fi

# Compiles the generated device trees in the tests, which are skipped without it.
if ! command -v dtc >/dev/null 2>&1; then
    (provide device-tree-compiler) || echo "without dtc all works but the tests of the device trees" >&2
fi

# Reads and simulates the generated Verilog in the tests. Nothing else needs it either.
if ! command -v iverilog >/dev/null 2>&1; then
    (provide iverilog) || echo "without iverilog all works but the tests that read Verilog with it" >&2
fi

# What Verilator's writer of waves is compiled with (`--waves`). Its tests are skipped without them.
if command -v dpkg >/dev/null 2>&1 && ! dpkg -s liblz4-dev zlib1g-dev >/dev/null 2>&1; then
    (provide liblz4-dev zlib1g-dev) || echo "without liblz4-dev and zlib1g-dev all works but --waves" >&2
fi

if ! "$python" -c "import sys; sys.exit(sys.version_info < (3, 11))"; then
    echo "Python 3.11 or newer is needed, not $("$python" -V 2>&1). Type: make PYTHON=python3.11 (or newer)" >&2
    exit 1
fi

if ! "$venv/bin/python" -c "" 2>/dev/null; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
"$venv/bin/python" -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[cluster,docs,test]'

# Models of timm and torchvision are captured in the tests. In a folder of their own, as PyPI's torchvision does not load
# beside a torch for CPUs, and whoever finds it installed fails with it: `transformers` does.
if ! "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --upgrade --target "$venv/vision" \
    timm==1.0.31 torchvision==0.28.0; then
    echo "without timm and torchvision all works but the tests of their models" >&2
fi

# The simulator embeds Python as a shared library, which Debian has in a package of its own.
if ! "$venv/bin/python" -c "import find_libpython as f, sys; sys.exit(f.find_libpython() is None)"; then
    provide "$("$venv/bin/python" -c "import sys; print('libpython%d.%d' % sys.version_info[:2])")"
fi
