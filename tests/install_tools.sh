#!/usr/bin/env bash
# Installs what the tests drive from outside Python: Chromium, coturn and PostgreSQL. Says what to do where it cannot.
set -u
missing=()
command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
command -v turnserver >/dev/null || missing+=(coturn)
[ ${#missing[@]} -eq 0 ] && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "Installing ${missing[*]} ..."
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    { apt-get update -q && apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 && exit 0
    tail -5 "$log"
fi
echo "Not installed: ${missing[*]}. Install them with your package manager (Debian: sudo apt-get install ${missing[*]})."
if [ -n "${CI:-}" ]; then
    echo "In CI this is a failure."
    exit 1
fi
echo "The tests that need them are skipped."
