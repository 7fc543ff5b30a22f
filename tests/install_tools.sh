#!/usr/bin/env bash
# Installs what the tests drive from outside Python: Chromium, coturn, PostgreSQL, and what checks deploy/. Says what to do where it cannot.
# Fonts for Chinese and emoji come along where apt-get can: screenshots have empty boxes without them, tests do not fail.
set -u
missing=()
command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v logrotate >/dev/null || [ -x /usr/sbin/logrotate ] || missing+=(logrotate)
command -v turnserver >/dev/null || missing+=(coturn)
fonts=()
[ -n "$(fc-list :lang=zh family 2>/dev/null)" ] || fonts+=(fonts-wqy-microhei)
fc-list : family 2>/dev/null | grep -qi emoji || fonts+=(fonts-noto-color-emoji)
[ ${#missing[@]} -eq 0 ] && [ ${#fonts[@]} -eq 0 ] && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    install() {
        echo "Installing $* ..."
        apt-get install -q -y --no-install-recommends "$@" >>"$log" 2>&1
    }
    apt-get update -q >"$log" 2>&1
    if [ ${#fonts[@]} -ne 0 ]; then
        install "${fonts[@]}" || echo "Not installed: ${fonts[*]}. Screenshots will lack some characters."
    fi
    if [ ${#missing[@]} -eq 0 ] || install "${missing[@]}"; then exit 0; fi
    tail -5 "$log"
fi
[ ${#missing[@]} -eq 0 ] && exit 0
echo "Not installed: ${missing[*]}. Install them with your package manager (Debian: sudo apt-get install ${missing[*]})."
if [ -n "${CI:-}" ]; then
    echo "In CI this is a failure."
    exit 1
fi
echo "The tests that need them are skipped."
