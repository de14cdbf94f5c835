#!/bin/sh
# Installs what Roost is compared with, by name, into a directory of its own: npm's packages, and
# Debian's unpacked there, so that no service starts.
#
#   loadtest/peers/install.sh [DIR]        loadtest/peers/.installed
#
# Needs npm (and node) for bun and ws, apt-get with fresh lists for nginx, nats-server and mosquitto.
set -eu
into=${1:-$(dirname "$0")/.installed}
mkdir -p "$into/npm" "$into/debs/partial" "$into/debian"
into=$(realpath "$into")

# bufferutil is what the documentation of ws offers for speed.
npm install --prefix "$into/npm" --no-audit --no-fund --loglevel=error bun ws bufferutil

# Downloads whatever the system lacks of their dependencies, too; installs nothing.
apt-get install --download-only --reinstall --yes --no-install-recommends \
    -o Debug::NoLocking=true -o "Dir::Cache::archives=$into/debs" \
    nginx libnginx-mod-nchan nats-server mosquitto
for package in "$into"/debs/*.deb; do
    dpkg-deb --extract "$package" "$into/debian"
done

# nchan asks for nginx's usual directory, whatever its configuration says.
[ -d /var/lib/nginx ] || mkdir -p /var/lib/nginx
