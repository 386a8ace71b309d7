#!/bin/sh
# Builds raas, serves a registry from a temporary folder, publishes a sample to it, and says what to pull.
# usage: sh examples/try.sh [PORT]
# RAAS_PROGRAM names a raas that is built already.
set -eu
port=${1:-5000}
cd "$(dirname "$0")/.."
if [ -z "${RAAS_PROGRAM:-}" ]; then
    # Without S3, which a first try in a folder does not need and which takes the longest to build.
    cargo build --profile try --no-default-features --features operator --package raas
fi
raas=${RAAS_PROGRAM:-${CARGO_TARGET_DIR:-target}/try/raas}

RAAS_HOME=$(mktemp -d)
export RAAS_HOME
server=
stop() {
    trap - EXIT INT TERM
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$RAAS_HOME"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$raas" setup bigdatainc
"$raas" serve bigdatainc --listen "127.0.0.1:$port" &
server=$!
tries=0
until ls "$RAAS_HOME"/_servers/*.json >/dev/null 2>&1; do
    kill -0 "$server" 2>/dev/null || exit 1
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || exit 1
    sleep 0.1
done
"$raas" push bigdatainc bigdata-app --from fixtures/bigdata-app.tar
"$raas" status bigdatainc
echo "Serving. Press Ctrl-C to stop."
wait "$server"
