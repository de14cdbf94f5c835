#!/bin/sh
# A million WebSockets in one daemon, both ends on this machine, every delivery checked.
#
#   loadtest/million.sh [CONNECTIONS [RUN…]]        1000000 common own wamp silent busy rate wss
#   loadtest/million.sh [CONNECTIONS] conns
#
# common: all on one channel. own: each on a channel of its own. wamp: WAMP sessions, each on a
# channel of its own and all on a common one. Each of these opens, holds with pings on, publishes and
# checks that everyone receives exactly once, drops and reconnects 10 %, closes, and checks that the
# daemon's memory and counters return. silent: opens and holds without pings. busy: echo latency of
# 100 connections alone, and beside nine tenths of the number that are quiet. rate: connections a
# second of the daemon and of an accept loop, the same number over the same rings, in turn. wss: common
# over TLS, with a certificate that the daemon makes (ECDSA, P-256); what TLS costs is the difference to
# common. conns: the echo of 100 connections alone and while all are listed, and what a scrape of /metrics
# costs (scripts/conns_cost.py).
# Needs root for the port below 1024 and the sysctls.
# Results: $ROOST_MILLION_OUT (loadtest/results) as JSON, text, and report.html; of the daemon's
# memory at each run's end million-RUN-smaps.txt, and after the warm-up million-RUN-smaps-warm.txt;
# million.txt is the table of bars.
set -eu
cd "$(dirname "$0")/.."

connections=${1:-1000000}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- common own wamp silent busy rate wss
out=${ROOST_MILLION_OUT:-loadtest/results}
seconds_max=840      # one run and what is around it ends within 15 minutes
seconds_max_wss=1440 # over TLS within 25: a million handshakes, both ends here, take most of it
port=810
admin=811 # as in million.toml
# Clients' rings: 19,990 slots each, and one ring more than they need.
rings=$((connections / 19000 + 1))

allow() {
    if sysctl -q -w "$1" 2>/dev/null; then
        echo "sysctl $1"
    else
        echo "sysctl $1: not permitted, left at $(sysctl -n "${1%%=*}")"
    fi
}
if [ -z "${ROOST_MILLION_NAMESPACE:-}" ]; then
    allow net.ipv4.tcp_mem="2000000 2500000 3000000"
    allow vm.max_map_count=1000000
    # The kernel finds a connection in a hash table whose size is fixed at boot (thash_entries), often
    # 262,144 chains: with both ends of a million on this machine each packet then walks a chain of
    # eight. A network namespace may have a larger table of its own (Linux 6.1), and what is set in
    # it is gone with it.
    chains=4194304
    before=$(sysctl -n net.ipv4.tcp_child_ehash_entries 2>/dev/null || echo none)
    if [ "$before" != none ] && [ "$connections" -gt 100000 ] &&
        unshare --net ip link set lo up 2>/dev/null &&
        sysctl -q -w net.ipv4.tcp_child_ehash_entries=$chains 2>/dev/null; then
        echo "a network namespace of its own, with $chains chains for connections"
        trap 'sysctl -q -w net.ipv4.tcp_child_ehash_entries="$before"' EXIT
        trap 'exit 130' INT TERM
        status=0
        # shellcheck disable=SC2016 # expanded inside
        ROOST_MILLION_NAMESPACE=$before scripts/with-parent $$ unshare --net sh -c 'ip link set lo up && exec "$0" "$@"' \
            loadtest/million.sh "$connections" "$@" || status=$?
        exit $status
    fi
    echo "no network namespace: the table of connections has $(sysctl -n net.ipv4.tcp_ehash_entries) chains"
else
    echo "chains for connections: $(sysctl -n net.ipv4.tcp_ehash_entries)"
fi
allow net.ipv4.ip_local_port_range="1024 65535"
allow net.core.somaxconn=4096
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
server=
beside=
status=0
files=

stop() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
leave() {
    touch "$work/ended" # a measurement beside gives up
    if [ -n "$beside" ]; then
        kill "$beside" 2>/dev/null || true
        wait "$beside" || true
    fi
    stop
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 130' INT TERM

# Waits until the server that was started does what is asked, which says that it is ready.
until_ready() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        if [ $tries -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then
            cat "$work/server.log"
            exit 1
        fi
        sleep 0.1
    done
}

# The daemon, with options of this run, how it listens among them. It has dozens of threads, each of
# which would keep small blocks of memory for itself for good: see docs/tuning.md, and
# deploy/roost.service.
start_daemon() {
    GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.tcache_count=0} scripts/with-parent $$ "$ROOSTD" run --config loadtest/million.toml "$@" >"$work/server.log" 2>&1 &
    server=$!
    until_ready curl -s -o "$work/stats.json" "http://127.0.0.1:$admin/stats"
}

# An accept loop on as many rings as the daemon has reactors.
start_bare() {
    slots=$(($1 / $2 * 2 + 256))
    [ "$slots" -le 19990 ] || slots=19990 # the limit on open files holds for each ring
    scripts/with-parent $$ "$ROOST_LOAD" accept-loop --listen "0.0.0.0:$port" --loops "$2" \
        --direct-slots "$slots" >"$work/server.log" 2>&1 &
    server=$!
    until_ready test -s "$work/server.log"
}

# What the daemon's memory consists of: the kernel's sum, and mappings by name, anonymous ones by
# their size, those with the largest share first.
save_smaps() {
    {
        cat "/proc/$server/smaps_rollup"
        echo
        awk '
            /^[0-9a-f]+-[0-9a-f]+ / { name = $6 }
            $1 == "Size:" { if (name == "") name = "anonymous, " $2 " kB each"; mappings[name]++ }
            $1 == "Rss:" { rss[name] += $2 }
            $1 == "Pss:" { pss[name] += $2 }
            $1 == "Private_Dirty:" { dirty[name] += $2 }
            END {
                for (name in mappings)
                    printf "%10d kB PSS %10d kB RSS %10d kB private, written %6d × %s\n",
                        pss[name], rss[name], dirty[name], mappings[name], name
            }' "/proc/$server/smaps" | sort -rn | head -50
    } >"$out/million-$1-$2.txt" || true
}

# The same at the moment that the end is compared with: the warm-up is over, and nothing is open.
save_smaps_of_warm_up() {
    until come_to "open 20 %"; do
        [ ! -e "$work/ended" ] && kill -0 $$ || return 0
        sleep 0.2
    done
    save_smaps "$1" smaps-warm
}

# Whether the run under way has come to a phase.
come_to() {
    grep -qx "… $1" "$work/said" 2>/dev/null
}

# Echo latency of 100 connections; $1 says beside whom.
measure_echo() {
    timeout -k 10 60 scripts/with-parent - "$ROOST_LOAD" echo "ws://127.0.0.1:$port" --quiet --connections 100 --rate 2000 \
        --warm-up 3s --time 20s --json "$out/million-busy-$1.json" >"$out/million-busy-$1.txt"
}

# The same beside those that are held, or not at all: it counts only if it is over before the hold is.
measure_beside() {
    until come_to hold; do
        kill -0 $$ || return 1 # this runs beside the script, and must not outlive it
        if [ -e "$work/ended" ]; then
            echo "busy: no connection was held to measure beside" >&2
            return 1
        fi
        sleep 1
    done
    sleep 30 # an interval of pings later, when new connections have had their first
    measured=0
    measure_echo beside || measured=1
    if come_to close || [ -e "$work/ended" ]; then
        echo "busy: the quiet ones were gone before the echo beside them was measured" >&2
        rm -f "$out/million-busy-beside.json"
        measured=1
    fi
    return $measured
}

# Run $1 of the scenario of that name; wss has that of common.
run_scenario() {
    scenario=$1
    [ "$1" != wss ] || scenario=common
    # The scenarios are written for a million; other numbers are parts of it. First the parts and
    # then their numbers: no number may become another's.
    sed -e 's/= 20000$/= ONE_IN_50/' -e 's/= 200000$/= ONE_IN_5/' -e 's/= 500000$/= HALF/' \
        -e 's/= 900000$/= NINE_IN_10/' -e 's/= 1000000$/= ALL/' \
        -e "s/= ONE_IN_50$/= $((connections / 50))/" \
        -e "s/= ONE_IN_5$/= $((connections / 5))/" \
        -e "s/= HALF$/= $((connections / 2))/" \
        -e "s/= NINE_IN_10$/= $((connections / 10 * 9))/" \
        -e "s/= ALL$/= $connections/" \
        "loadtest/scenarios/million-$scenario.toml" >"$work/$1.toml"
    [ "$1" = "$scenario" ] || sed -i "s/^name = \"million/& over TLS/" "$work/$1.toml"
    url=ws://127.0.0.1:$port
    ca=
    limit=$seconds_max
    case $1 in
    silent) start_daemon --listen "0.0.0.0:$port" --set limits.ping_interval=0s ;;
    wss)
        export XDG_STATE_HOME="$work" # where it keeps its certificate
        start_daemon --listen-tls "0.0.0.0:$port" --self-signed
        url=wss://127.0.0.1:$port
        ca="--ca $work/roost/localhost.crt"
        limit=$seconds_max_wss
        ;;
    *) start_daemon --listen "0.0.0.0:$port" ;;
    esac
    json=$out/million-$1.json
    beside=
    rm -f "$work/said" "$work/ended"
    if [ "$1" = busy ]; then
        measure_echo alone || status=1
        measure_beside &
        beside=$!
    else
        save_smaps_of_warm_up "$1" &
    fi
    # shellcheck disable=SC2086 # one option or none
    scripts/with-parent $$ timeout -k 60 "$limit" scripts/with-parent - "$ROOST_LOAD" mixed "$work/$1.toml" "$url" $ca \
        --rings "$rings" --server-pid "$server" --server-stats "127.0.0.1:$admin" --json "$json" \
        >"$out/million-$1.txt" 2>"$work/said" || status=1
    touch "$work/ended"
    cat "$work/said" "$out/million-$1.txt"
    if [ -n "$beside" ]; then
        wait "$beside" || status=1
        beside=
        for which in alone beside; do
            echo "echo of 100 connections, $which:"
            cat "$out/million-busy-$which.txt" 2>/dev/null || true
        done
    fi
    for file in "$json" "$out/million-$1-"*.json; do
        [ ! -s "$file" ] || files="$files $file"
    done
    save_smaps "$1" smaps
    stop
    sed 's/^/daemon: /' "$work/server.log"
}

# Lists all, beside 100 that exchange messages; the others are held for as long as that takes.
run_conns() {
    sed -e "s/= 900000$/= $connections/" -e 's/time = .*/time = "20m"/' \
        loadtest/scenarios/million-busy.toml >"$work/conns.toml"
    start_daemon --listen "0.0.0.0:$port" --set "admin.socket=$work/admin.sock"
    rm -f "$work/said"
    scripts/with-parent $$ timeout -k 60 1800 scripts/with-parent - "$ROOST_LOAD" mixed "$work/conns.toml" \
        "ws://127.0.0.1:$port" --rings "$rings" >"$out/million-conns-held.txt" 2>"$work/said" &
    beside=$!
    until come_to hold; do
        kill -0 "$beside" 2>/dev/null || break
        sleep 1
    done
    sleep 30 # an interval of pings later, when new connections have had their first
    scripts/conns_cost.py "$ROOSTD" "${ROOSTCTL:-${ROOSTD%d}ctl}" "$ROOST_LOAD" --connections "$connections" \
        --rounds 5 --seconds 8 --beside "$server" "$work/admin.sock" "ws://127.0.0.1:$port" \
        >"$out/million-conns.txt" || status=1
    kill -0 "$beside" 2>/dev/null || {
        echo "conns: the quiet ones were gone before all was measured" >&2
        status=1
    }
    kill "$beside" 2>/dev/null || true
    wait "$beside" || true
    beside=
    stop
    cat "$out/million-conns.txt"
}

# Five times, by turns: as many connections of TCP alone, and of the daemon, over as many rings as
# hold them at either end.
run_rate() {
    many=$connections
    [ "$many" -le 100000 ] || many=100000
    reactors=$((many / 19000 + 1))
    for round in 1 2 3 4 5; do
        for kind in bare daemon; do
            name=million-rate-$kind-$round
            bare=
            case $kind in
            bare) start_bare "$many" "$reactors" && bare=--bare ;;
            daemon) start_daemon --listen "0.0.0.0:$port" --reactors "$reactors" ;;
            esac
            # shellcheck disable=SC2086 # one option or none
            scripts/with-parent $$ timeout -k 10 120 scripts/with-parent - "$ROOST_LOAD" idle "ws://127.0.0.1:$port" --quiet -n "$many" $bare \
                --driver io_uring --rings "$reactors" --hold 1s --json "$out/$name.json" \
                >"$out/$name.txt" || status=1
            stop
            echo "$kind: $(grep opened "$out/$name.txt" || echo 'nothing opened')"
        done
    done
}

tabled=
for run in "$@"; do
    # An earlier run's must not pass for this one's.
    rm -f "$out/million-$run.json" "$out/million-$run.txt" "$out/million-$run-"*
    case $run in
    rate) run_rate ;;
    conns)
        run_conns
        continue
        ;;
    *) run_scenario "$run" ;;
    esac
    tabled="$tabled $run"
done
[ -n "$tabled" ] || exit $status
# shellcheck disable=SC2086 # a list of files
[ -z "$files" ] || "$ROOST_LOAD" report $files --out "$out/report.html" || status=1
# shellcheck disable=SC2086 # names
"$ROOST_LOAD" million-table "$out" $tabled --connections "$connections" >"$out/million.txt" || status=1
cat "$out/million.txt"
exit $status
