#!/usr/bin/env bash
# Builds the native media plane into the Python given.
set -u
python=$1
command -v cargo >/dev/null || { echo "The native media plane needs cargo: https://rustup.rs"; exit 1; }
echo "Building the native media plane (the first time takes a minute or two) ..."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$python" -m pip --disable-pip-version-check -q install "$(dirname "$0")/py" >"$log" 2>&1 && exit 0
tail -15 "$log"
echo "The native media plane was not built."
exit 1
