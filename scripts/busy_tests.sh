#!/bin/sh
# All tests, several times in a row, on a machine that does something else as well: a busy loop on
# every core, and ephemeral ports from 1024 on, so that outgoing connections take any port.
#
#     scripts/busy_tests.sh [TIMES]          10
#
# Needs root for the sysctl, which is put back at the end, also when this is interrupted. The load
# ends with this script, however that ends. Each run's output is in $OUT (target/busy-tests); the
# last line counts. Status 1 when a run failed.
set -eu
cd "$(dirname "$0")/.."
times=${1:-10}
out=${OUT:-target/busy-tests}
run_seconds_max=1800
mkdir -p "$out"

ports=$(sysctl -n net.ipv4.ip_local_port_range)
load=
running=
finish() {
    # shellcheck disable=SC2086 # a list of processes
    [ -z "$load$running" ] || kill $load $running 2>/dev/null || true
    sysctl -q -w net.ipv4.ip_local_port_range="$ports"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP
sysctl -q -w net.ipv4.ip_local_port_range="1024 65535"

# What is built here need not be built under load.
cargo test --workspace --no-run >"$out/build.log" 2>&1 || { cat "$out/build.log"; exit 1; }

for _ in $(seq "$(nproc)"); do
    # Ends with this script, and after the longest time that all runs can take.
    scripts/with-parent $$ timeout $((times * run_seconds_max)) \
        setpriv --pdeathsig KILL -- sh -c 'while :; do :; done' &
    load="$load $!"
done

failed=0
for number in $(seq "$times"); do
    began=$(date +%s)
    # In the background, for a shell hears no signal while it waits for what is not.
    scripts/with-parent $$ timeout -k 10 "$run_seconds_max" cargo test --workspace >"$out/$number.log" 2>&1 &
    running=$!
    if wait "$running"; then
        verdict=passed
    else
        verdict=FAILED
        failed=$((failed + 1))
        grep -hE '^(test .* FAILED|---- .* stdout ----|thread .* panicked at)' "$out/$number.log" | head -20 || true
    fi
    running=
    echo "run $number: $verdict, $(($(date +%s) - began)) s"
done
echo "$((times - failed)) of $times passed"
[ "$failed" -eq 0 ]
