#!/bin/sh
# Instructions per message in the daemon's own code, counted by valgrind's callgrind: echo of 125 B
# and fan-out of 125 B to 500 raw subscribers, on both drivers, with one reactor. Prints the tables
# of docs/measurements.md; scripts/instructions.py says how it counts.
#
#     scripts/echo-instructions.sh                   # all of it
#     scripts/echo-instructions.sh echo epoll        # one of them
#
# Needs valgrind and python3. ROOSTD names a release binary built before; TOP the rows (10).
set -eu
cd "$(dirname "$0")/.."
if [ -z "${ROOSTD:-}" ]; then
    cargo build --release -p roostd
    ROOSTD=${CARGO_TARGET_DIR:-target}/release/roostd
fi
if [ $# -gt 0 ]; then
    exec python3 scripts/instructions.py "$ROOSTD" "$@"
fi
for what in echo fanout; do
    for driver in epoll io_uring; do
        python3 scripts/instructions.py "$ROOSTD" "$what" "$driver"
    done
done
