#!/bin/sh
# Runs the browser tests against a portal that is up.
#   PORTAL_URL=http://127.0.0.1:8000 portal/browser/run.sh
# Also read: PORTAL_MSISDN, PORTAL_USER, PORTAL_PASSWORD (default 34600000001, alice, wonderland),
# CHROMIUM (default /usr/bin/chromium), SCREENSHOTS (a folder; without it no pictures are taken).
set -eu
: "${PORTAL_URL:?must say where the portal is}"
# A relative folder is meant from where the command was given.
case "${SCREENSHOTS:-}" in
    '' | /*) ;;
    *) SCREENSHOTS=$PWD/$SCREENSHOTS && export SCREENSHOTS ;;
esac
cd "$(dirname "$0")"
if ! npm ls --silent >/dev/null 2>&1; then
    npm ci --silent --no-audit --no-fund
fi
exec node --test --test-reporter=spec --test-timeout=180000 portal.test.js
