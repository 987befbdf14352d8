#!/usr/bin/env bash
# Tries the backends against real servers on this machine, by the conformance suite and by eight writers beside
# a prune: Azurite (npm) for Azure Blob Storage, moto (PyPI) for S3, and s3s-fs (a Rust crate), whose conditional
# create lets two of several racing creators win: there the probe must notice, and prune waits instead of fencing.
# For Google Cloud Storage there is none: gcp-storage-emulator (PyPI) answers a put without the ETag that the service
# sends, so that nothing can be put there.
# Installs them below a folder of its own (SERVERS_DIR, by default target/servers), starts them on 127.0.0.1,
# stops them, and says what it skipped. With SERVERS_QUICK=1 nothing is installed that has to be compiled first.
#
#   backup-store/tests/servers.sh [azurite] [moto] [s3s-fs]     all of them, by default
set -uo pipefail
cd "$(dirname "$0")/../.."
dir=${SERVERS_DIR:-$PWD/target/servers}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
wanted=${*:-azurite moto s3s-fs}
quick=${SERVERS_QUICK:-}
passed=() skipped=() failed=() pids=()

stop() { for pid in ${pids[@]+"${pids[@]}"}; do kill "$pid" 2>/dev/null; done; }
trap stop EXIT

skip() { echo "SKIPPED $1: $2"; skipped+=("$1"); }

# try NAME EXPECTED ARGUMENTS...: runs the example, five minutes at most; its output must hold EXPECTED.
try() {
    local name=$1 expected=$2 output
    shift 2
    if output=$(timeout 300 "$example" "$@" 2>&1) && [[ $output == *"$expected"* ]]; then
        echo "passed  $name: $output"
        passed+=("$name")
    else
        echo "FAILED  $name: $output"
        failed+=("$name")
    fi
}

# listening PORT: waits until somebody listens there.
listening() {
    for _ in $(seq 300); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        sleep 0.2
    done
    return 1
}

echo "== building"
cargo build --locked -q -p backup-store --example try_backend --features s3,azure,gcs || exit 1
example=${CARGO_TARGET_DIR:-target}/debug/examples/try_backend
run=$$

azurite() {
    command -v npm >/dev/null || { skip azurite "no npm"; return; }
    local tool=$dir/azurite/node_modules/.bin/azurite-blob port=10100
    [ -x "$tool" ] || timeout 300 npm install --silent --prefix "$dir/azurite" azurite@3.35.0 >"$dir/azurite.log" 2>&1 ||
        { skip azurite "npm could not install it, see $dir/azurite.log"; return; }
    "$tool" --silent --skipApiVersionCheck --location "$dir/azurite-data" --blobHost 127.0.0.1 --blobPort $port \
        >>"$dir/azurite.log" 2>&1 &
    pids+=($!)
    listening $port || { skip azurite "it does not listen, see $dir/azurite.log"; return; }
    # The account and key that every emulator of the service has; they are published and protect nothing.
    export TRY_ACCOUNT=devstoreaccount1 TRY_ENDPOINT=http://127.0.0.1:$port/devstoreaccount1
    export TRY_SECRET=$(python3 - "$port" "c$run" <<'PYTHON'
import base64, email.utils, hashlib, hmac, sys, urllib.request
port, container = sys.argv[1:]
account = "devstoreaccount1"
key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
now = email.utils.formatdate(usegmt=True)
signed = f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{now}\nx-ms-version:2021-08-06\n/{account}/{account}/{container}\nrestype:container"
signature = base64.b64encode(hmac.new(base64.b64decode(key), signed.encode(), hashlib.sha256).digest()).decode()
request = urllib.request.Request(f"http://127.0.0.1:{port}/{account}/{container}?restype=container", method="PUT", headers={
    "x-ms-date": now, "x-ms-version": "2021-08-06", "Content-Length": "0",
    "Authorization": f"SharedKey {account}:{signature}"})
urllib.request.urlopen(request)
print(key)
PYTHON
    ) || { failed+=("azurite"); echo "FAILED  azurite: the container could not be made"; return; }
    try "azurite conformance" "conforms" conform "azure://c$run/conform/one"
    try "azurite eight writers and a prune" "left and whole" writers "azure://c$run/writers"
}

moto() {
    command -v python3 >/dev/null || { skip moto "no python3"; return; }
    local tool=$dir/moto/bin/moto_server port=10101
    [ -x "$tool" ] || { python3 -m venv "$dir/moto" && timeout 300 "$dir/moto/bin/pip" install -q 'moto[server,s3]==5.2.5'; } \
        >"$dir/moto.log" 2>&1 || { skip moto "pip could not install it, see $dir/moto.log"; return; }
    "$tool" -H 127.0.0.1 -p $port >>"$dir/moto.log" 2>&1 &
    pids+=($!)
    listening $port || { skip moto "it does not listen, see $dir/moto.log"; return; }
    export TRY_KEY_ID=key TRY_SECRET=secret TRY_ENDPOINT=http://127.0.0.1:$port
    curl -sf -X PUT "$TRY_ENDPOINT/b$run" >/dev/null ||
        { failed+=("moto"); echo "FAILED  moto: the bucket could not be made"; return; }
    try "moto conformance" "conforms" conform "s3://b$run/conform/one"
    try "moto eight writers and a prune" "left and whole" writers "s3://b$run/writers"
}

s3s-fs() {
    local tool=$dir/s3s-fs/bin/s3s-fs port=10102
    [ -x "$tool" ] || [ -z "$quick" ] || { skip s3s-fs "it has to be compiled first"; return; }
    [ -x "$tool" ] || CARGO_TARGET_DIR=$dir/s3s-fs-build cargo install -q --locked s3s-fs --version 0.14.1 \
        --features binary --root "$dir/s3s-fs" >"$dir/s3s-fs.log" 2>&1 ||
        { skip s3s-fs "cargo could not install it, see $dir/s3s-fs.log"; return; }
    mkdir -p "$dir/s3s-data/b$run"
    "$tool" --access-key key --secret-key secret --host 127.0.0.1 --port $port "$dir/s3s-data" \
        >>"$dir/s3s-fs.log" 2>&1 &
    pids+=($!)
    listening $port || { skip s3s-fs "it does not listen, see $dir/s3s-fs.log"; return; }
    export TRY_KEY_ID=key TRY_SECRET=secret TRY_ENDPOINT=http://127.0.0.1:$port
    try "s3s-fs is found out" "put-if-absent false" probe "s3://b$run/probe"
    try "s3s-fs eight writers and a prune" "left and whole" writers "s3://b$run/writers"
}

for server in $wanted; do
    echo "== $server"
    case $server in
        azurite | moto | s3s-fs) $server ;;
        *) skip "$server" "not known" ;;
    esac
done
[ $# -gt 0 ] || skip gcs "the one emulator that was tried sends no ETag"
echo "== ${#passed[@]} passed, ${#failed[@]} failed: ${failed[*]:-none}, skipped: ${skipped[*]:-none}"
[ ${#failed[@]} -eq 0 ]
