#!/bin/sh
# Runs the browser tests of the owner's screen. They start a gateway and handsets of their own, on free ports of loopback.
#   agent/browser/run.sh
# Also read: EVERLINE_BIN (where `gateway` and `agent` are, default target/release), CHROMIUM (default /usr/bin/chromium),
# SCREENSHOTS (a folder; without it no pictures are taken). Words behind the command go to node: --test-name-pattern=R54
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# Relative folders are meant from where the command was given.
case "${SCREENSHOTS:-}" in
    '' | /*) ;;
    *) SCREENSHOTS=$PWD/$SCREENSHOTS && export SCREENSHOTS ;;
esac
EVERLINE_BIN=${EVERLINE_BIN:-$here/../../target/release}
EVERLINE_BIN=$(cd "$EVERLINE_BIN" && pwd) && export EVERLINE_BIN
for part in gateway agent; do
    if ! [ -x "$EVERLINE_BIN/$part" ]; then
        echo "run.sh: there is no $EVERLINE_BIN/$part: cargo build --release -p everline-$part" >&2
        exit 1
    fi
done
cd "$here"
if ! npm ls --silent >/dev/null 2>&1; then
    npm ci --silent --no-audit --no-fund
fi
exec node --test --test-reporter=spec --test-timeout=180000 "$@" owner.test.js
