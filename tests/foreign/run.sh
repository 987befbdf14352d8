#!/usr/bin/env bash
# Lets programs of others use the simulated tenant: msal, msgraph-sdk, exchangelib and rclone, all as they are.
# usage: tests/foreign/run.sh [path of m365-simulator]
# Needs python3 with venv and pip for the first three, rclone on the PATH for the last; says what it left out.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
server=
tidy() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap tidy EXIT

program=${1:-}
if [ -z "$program" ]; then
    cargo build --quiet --manifest-path "$here/../Cargo.toml" --bin m365-simulator
    target=${CARGO_TARGET_DIR:-$here/../../target}
    program=$target/debug/m365-simulator
fi

"$program" serve --tenant-file "$work/tenant.json" --users 6 --seed 7 &
server=$!
for _ in $(seq 100); do
    [ -e "$work/tenant.json" ] && break
    kill -0 "$server" 2>/dev/null || { echo "m365-simulator ended before it served"; exit 1; }
    sleep 0.2
done
[ -e "$work/tenant.json" ] || { echo "m365-simulator did not begin to serve"; exit 1; }

failed=0
part() {
    local name=$1
    shift
    if "$@"; then echo "ok: $name"; else echo "FAILED: $name"; failed=1; fi
}

# A place for the packages can be kept between runs by M365_FOREIGN_VENV.
venv=${M365_FOREIGN_VENV:-$work/venv}
if python3 -c 'import venv, ensurepip' 2>/dev/null; then
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    # deprecated is imported by msgraph-sdk's libraries and not asked for by them.
    if "$venv/bin/pip" install --quiet --disable-pip-version-check msal msgraph-sdk deprecated exchangelib; then
        ca=$("$venv/bin/python" -c 'import json,sys; print(json.load(open(sys.argv[1]))["ca"])' "$work/tenant.json")
        part msal env REQUESTS_CA_BUNDLE="$ca" "$venv/bin/python" "$here/with_msal.py" "$work/tenant.json"
        part msgraph-sdk env REQUESTS_CA_BUNDLE="$ca" SSL_CERT_FILE="$ca" \
            "$venv/bin/python" "$here/with_msgraph.py" "$work/tenant.json"
        part exchangelib env REQUESTS_CA_BUNDLE="$ca" \
            "$venv/bin/python" "$here/with_exchangelib.py" "$work/tenant.json"
    else
        echo "skipped: msal, msgraph-sdk, exchangelib (the packages cannot be installed here)"
    fi
    if command -v rclone >/dev/null; then
        part rclone python3 "$here/with_rclone.py" "$work/tenant.json" "$work"
    else
        echo "skipped: rclone (not installed)"
    fi
else
    echo "skipped: msal, msgraph-sdk, exchangelib, rclone (no python3 with venv)"
fi
exit "$failed"
