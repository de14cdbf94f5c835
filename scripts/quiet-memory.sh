#!/bin/sh
# What a quiet connection costs the daemon in user space: the slope of its PSS from 5,000 to 15,000
# raw connections, on each driver. The kernel's share is not in it.
#
#     scripts/quiet-memory.sh                    # all subscribed to one channel
#     scripts/quiet-memory.sh --own-channels     # a channel for each
#
# Both ends stay below 20,000 descriptors. ROOSTD and ROOST_LOAD name binaries built before;
# REACTORS is the number of reactors (2). PSS counts pages, so the slope is exact to 0.4 bytes.
# After each step it waits until the daemon has given back what opening has needed. So long that the
# connections of no step are pinged shortly before one is measured: they are every 25 s.
# Prints a table; status 1 when a slope is above BAR bytes (160).
set -eu
cd "$(dirname "$0")/.."

BAR=${BAR:-160}
REACTORS=${REACTORS:-2}
if [ -z "${ROOSTD:-}" ] || [ -z "${ROOST_LOAD:-}" ]; then
    cargo build --release -p roostd -p roost-load
    target=${CARGO_TARGET_DIR:-target}/release
    ROOSTD=${ROOSTD:-$target/roostd}
    ROOST_LOAD=${ROOST_LOAD:-$target/roost-load}
fi

work=$(mktemp -d)
daemon=
finish() {
    [ -z "$daemon" ] || kill -KILL "$daemon" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT INT TERM

# measure DRIVER [OPTION...]: leaves roost-load's results in $work/result.json.
measure() {
    driver=$1
    shift
    scripts/with-parent $$ "$ROOSTD" run --listen 127.0.0.1:0 --driver "$driver" --reactors "$REACTORS" \
        --set log.level=warn >"$work/banner" &
    daemon=$!
    for _ in $(seq 600); do
        grep -q "^ *address" "$work/banner" && break
        sleep 0.1
    done
    address=$(sed -n 's/^ *address *//p' "$work/banner")
    scripts/with-parent $$ "$ROOST_LOAD" idle "ws://$address/raw/{channel}" --quiet --steps 5000,10000,15000 --connects-in-flight 64 --hold 1s \
        --memory-wait 15s --server-pid "$daemon" --json "$work/result.json" "$@" >"$work/said" ||
        { cat "$work/said"; exit 1; }
    kill -KILL "$daemon"
    wait "$daemon" 2>/dev/null || true
    daemon=
}

echo "| driver | reactors | PSS with 5,000 | with 10,000 | with 15,000 | bytes a connection |"
echo "|---|---:|---:|---:|---:|---:|"
status=0
for driver in epoll io_uring; do
    measure "$driver" "$@"
    python3 - "$work/result.json" "$driver" "$REACTORS" "$BAR" <<'PY' || status=1
import json, sys
path, driver, reactors, bar = sys.argv[1:]
phases = {p["name"]: p for p in json.load(open(path))["phases"]}
steps = [5000, 10000, 15000]
pss = [phases[f"open {n}"]["server"]["pss_bytes"] for n in steps]
assert all(phases[f"open {n}"]["held"] == n for n in steps), "not all are held"
slope = (pss[-1] - pss[0]) / (steps[-1] - steps[0])
kib = " | ".join(f"{p / 1024:,.0f} KiB" for p in pss)
print(f"| {driver} | {reactors} | {kib} | {slope:.1f} |")
sys.exit(slope > float(bar))
PY
done
exit $status
