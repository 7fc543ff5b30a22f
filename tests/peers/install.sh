#!/usr/bin/env bash
# Installs what tests/peers drives: Firefox and a screen for it, GStreamer with its Python bindings, Go with Pion.
# A peer that is missing fails `make interop`, so what cannot be installed is said here, and is a failure.
set -euo pipefail
cd "$(dirname "$0")"
gstreamer() { # Whether Debian's Python has GStreamer and the elements that are used.
    /usr/bin/python3 - <<'PYTHON'
import gi
gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst, GstWebRTC
Gst.init(None)
elements = "webrtcbin", "nicesrc", "vp8enc", "vp8dec", "rtpvp8pay", "opusenc", "opusdec", "videotestsrc", "audiotestsrc"
raise SystemExit(not all(map(Gst.ElementFactory.find, elements)))
PYTHON
}
packages=()
command -v firefox-esr >/dev/null || packages+=(firefox-esr)
command -v Xvfb >/dev/null || packages+=(xvfb)
# Debian's own is too old for Pion.
command -v go >/dev/null || { echo "Go 1.24 or newer is needed: https://go.dev/dl"; exit 1; }
gstreamer >/dev/null 2>&1 || packages+=(
    python3-gi gir1.2-gst-plugins-bad-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
    gstreamer1.0-plugins-bad gstreamer1.0-nice
)
if [ ${#packages[@]} -ne 0 ]; then
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        echo "Not installed: ${packages[*]}. Install them with your package manager (Debian: sudo apt-get install ${packages[*]})."
        exit 1
    fi
    echo "Installing ${packages[*]} ..."
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q >/dev/null
    apt-get install -q -y --no-install-recommends "${packages[@]}" >/dev/null
fi
cd ../../examples/pion
go vet ./...
test -z "$(gofmt -l .)"
