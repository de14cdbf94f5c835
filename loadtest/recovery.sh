#!/bin/sh
# All clients of one channel lose their connections, come back at once, and recover two seconds of it.
#
#   loadtest/recovery.sh [CLIENTS [DIALECT…]]        15000 sse centrifugo
#
# Each dialect is a run of `roost-load recover`: every delivery is checked, and the daemon's CPU time of
# recovery is compared with that of one publish of the same bytes to all. Up to 15,000 clients are held with
# epoll and one reactor. Beyond that the limit on open files would be met: sockets live in direct slots of
# io_uring, 19,000 for each of as many reactors and rings as that takes.
# Needs root for the port below 1024 and, with many clients, the sysctls. The machine should do nothing else.
# ROOST_RECOVERY_OPTIONS goes to roost-load, such as "--rounds 9 --rate 50".
# Results: $ROOST_RECOVERY_OUT (loadtest/results) as recovery-DIALECT-CLIENTS.json and .txt;
# scripts/recovery_table.py makes a table of them.
set -eu
cd "$(dirname "$0")/.."

clients=${1:-15000}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- sse centrifugo
out=${ROOST_RECOVERY_OUT:-loadtest/results}
options=${ROOST_RECOVERY_OPTIONS:---rounds 5}
seconds_max=840
port=812
admin=813 # as in recovery.toml

if [ -z "${ROOSTD:-}" ] || [ -z "${ROOST_LOAD:-}" ]; then
    cargo build --release -p roostd -p roost-load
    target=${CARGO_TARGET_DIR:-target}
    ROOSTD=$target/release/roostd
    ROOST_LOAD=$target/release/roost-load
fi

daemon_options="--driver epoll --reactors 1"
load_options="--driver epoll"
if [ "$clients" -gt 15000 ]; then
    rings=$((clients / 19000 + 1))
    daemon_options="--driver io_uring --reactors $rings --set io_uring.direct_descriptors=true"
    daemon_options="$daemon_options --set io_uring.buffers=128 --set io_uring.buffer_bytes=1KiB"
    load_options="--driver io_uring --rings $rings"
    for setting in net.ipv4.ip_local_port_range="1024 65535" net.ipv4.tcp_mem="2000000 2500000 3000000" \
        vm.max_map_count=1000000 net.core.somaxconn=4096; do
        sysctl -q -w "$setting" 2>/dev/null ||
            echo "sysctl $setting: not permitted, left at $(sysctl -n "${setting%%=*}")"
    done
fi

mkdir -p "$out"
work=$(mktemp -d)
server=
status=0
stop() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
leave() {
    stop
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 130' INT TERM

for dialect in "$@"; do
    name=$out/recovery-$dialect-$clients
    # An earlier run's must not pass for this one's.
    rm -f "$name.json" "$name.txt"
    # shellcheck disable=SC2086 # several options
    GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.tcache_count=0} scripts/with-parent $$ "$ROOSTD" run \
        --config loadtest/recovery.toml --listen "0.0.0.0:$port" $daemon_options >"$work/server.log" 2>&1 &
    server=$!
    tries=0
    until curl -s -o "$work/stats.json" "http://127.0.0.1:$admin/stats"; do
        tries=$((tries + 1))
        if [ $tries -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then
            cat "$work/server.log"
            exit 1
        fi
        sleep 0.1
    done
    # shellcheck disable=SC2086 # several options
    scripts/with-parent $$ timeout -k 60 "$seconds_max" scripts/with-parent - "$ROOST_LOAD" recover \
        "ws://127.0.0.1:$port" -n "$clients" --dialect "$dialect" $load_options $options \
        --server-pid "$server" --server-stats "127.0.0.1:$admin" --json "$name.json" >"$name.txt" || status=1
    cat "$name.txt"
    stop
    sed 's/^/daemon: /' "$work/server.log"
done
exit $status
