#!/usr/bin/env bash
# Runs the native plane's tests under AddressSanitizer (with its leak check) and ThreadSanitizer.
#
# The sanitizers come with rustup's toolchains. The compiler takes the flag only when told that it may be unstable;
# the standard library stays as it was built, which is what thread.txt makes up for.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
host=$(rustc -vV | sed -n 's/^host: //p')
if ! ls "$(rustc --print sysroot)/lib/rustlib/$host/lib/"*_rt.tsan.a >/dev/null 2>&1; then
    echo "This Rust has no sanitizers (rustup's has): the native plane is tested without."
    exit 0
fi
export RUSTC_BOOTSTRAP=1 TSAN_OPTIONS="suppressions=$here/thread.txt"
under() { # SANITIZER PACKAGE...
    echo "The native plane under the $1 sanitizer:"
    RUSTFLAGS="-Zsanitizer=$1 -Cunsafe-allow-abi-mismatch=sanitizer" \
        cargo test -q --locked --manifest-path "$here/Cargo.toml" --target "$host" \
        --target-dir "$here/target/$1" "${@:2}" --lib --tests
}
under address -p pysfu-plane-core -p pysfu-plane-io
under thread -p pysfu-plane-io # the core has no threads
