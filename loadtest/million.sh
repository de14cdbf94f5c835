#!/bin/sh
# A million WebSockets in one daemon, both ends on this machine, every delivery checked.
#
#   loadtest/million.sh [CONNECTIONS [RUN…]]        1000000 common own wamp busy
#
# common: all on one channel. own: each on a channel of its own. wamp: WAMP sessions, each on a
# channel of its own and all on a common one. Each run opens, holds with pings on, publishes and
# checks that everyone receives exactly once, drops and reconnects 10 %, closes, and checks that the
# daemon's memory and counters return. busy: echo latency of 100 connections alone, and beside nine
# tenths of the number that are quiet. Needs root for the port below 1024 and the sysctls.
# Results: $ROOST_MILLION_OUT (loadtest/results) as JSON, text, and report.html.
set -eu
cd "$(dirname "$0")/.."

connections=${1:-1000000}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- common own wamp busy
out=${ROOST_MILLION_OUT:-loadtest/results}
seconds_max=840 # one run and what is around it ends within 15 minutes
port=810

allow() {
    if sysctl -q -w "$1" 2>/dev/null; then
        echo "sysctl $1"
    else
        echo "sysctl $1: not permitted, left at $(sysctl -n "${1%%=*}")"
    fi
}
allow net.ipv4.ip_local_port_range="1024 65535"
allow net.ipv4.tcp_mem="2000000 2500000 3000000"
allow net.core.somaxconn=4096
allow vm.max_map_count=1000000
[ "$(sysctl -n fs.file-max)" -ge $((connections * 2 + 100000)) ] ||
    allow fs.file-max=$((connections * 2 + 100000))

if [ -z "${ROOSTD:-}" ] || [ -z "${ROOST_LOAD:-}" ]; then
    cargo build --release -p roostd -p roost-load
    target=${CARGO_TARGET_DIR:-target}
    ROOSTD=$target/release/roostd
    ROOST_LOAD=$target/release/roost-load
fi

mkdir -p "$out"
work=$(mktemp -d)
daemon=
stop() {
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
        daemon=
    fi
}
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Echo latency of 100 connections; $1 says beside whom.
echo_beside() {
    timeout 60 "$ROOST_LOAD" echo "ws://127.0.0.1:$port" --quiet --connections 100 --rate 2000 \
        --warm-up 3s --time 20s --json "$out/million-busy-$1.json" >"$out/million-busy-$1.txt"
}

status=0
files=
for run in "$@"; do
    # The scenarios are written for a million; other numbers are parts of it.
    # The smallest first: none may become another's.
    sed -e "s/= 20000$/= $((connections / 50))/" \
        -e "s/= 200000$/= $((connections / 5))/" \
        -e "s/= 900000$/= $((connections / 10 * 9))/" \
        -e "s/= 500000$/= $((connections / 2))/" \
        -e "s/= 1000000$/= $connections/" \
        "loadtest/scenarios/million-$run.toml" >"$work/$run.toml"
    "$ROOSTD" run --config loadtest/million.toml --listen "0.0.0.0:$port" >"$work/daemon.log" 2>&1 &
    daemon=$!
    tries=0
    until curl -s -o "$work/stats.json" "http://127.0.0.1:$port/stats"; do
        tries=$((tries + 1))
        if [ $tries -gt 100 ] || ! kill -0 "$daemon" 2>/dev/null; then
            cat "$work/daemon.log"
            exit 1
        fi
        sleep 0.1
    done
    json=$out/million-$run.json
    rm -f "$json" "$out/million-$run.txt" # an earlier run's must not pass for this one's
    if [ "$run" = busy ]; then
        echo_beside alone || status=1
        (
            for _ in $(seq 300); do
                grep -q "hold" "$work/said" 2>/dev/null && break
                sleep 1
            done
            sleep 5
            echo_beside beside
        ) &
        beside=$!
    fi
    timeout "$seconds_max" "$ROOST_LOAD" mixed "$work/$run.toml" "ws://127.0.0.1:$port" \
        --rings $((connections / 19000 + 1)) --server-pid "$daemon" --server-stats --json "$json" >"$out/million-$run.txt" 2>"$work/said" || status=1
    cat "$work/said" "$out/million-$run.txt"
    if [ "$run" = busy ]; then
        wait "$beside" || status=1
        for file in alone beside; do
            echo "echo of 100 connections, $file:"
            cat "$out/million-busy-$file.txt"
            files="$files $out/million-busy-$file.json"
        done
    fi
    stop
    if [ -s "$work/daemon.log" ]; then
        sed 's/^/daemon: /' "$work/daemon.log"
    fi
    [ -s "$json" ] && files="$files $json"
done
# shellcheck disable=SC2086 # a list of files
[ -z "$files" ] || "$ROOST_LOAD" report $files --out "$out/report.html"
exit $status
