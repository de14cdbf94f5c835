#!/bin/sh
# Unpacks Debian's nginx, HAProxy and Caddy, with what the system lacks of their libraries, into a
# directory; installs nothing, so no service starts.
#
#     e2e/proxy/install.sh DIR
set -eu
into=$1
mkdir -p "$into/debs/partial"
into=$(realpath "$into")
apt-get install --download-only --reinstall --yes -qq --no-install-recommends \
    -o Debug::NoLocking=true -o "Dir::Cache::archives=$into/debs" nginx haproxy caddy >/dev/null
for package in "$into"/debs/*.deb; do
    dpkg-deb --extract "$package" "$into"
done
