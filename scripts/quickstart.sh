#!/bin/sh
# From a fresh clone to a running container: npm run quickstart [-- COMMAND ARGUMENTS]
# Needs Linux, root, Node.js and npm. Downloads npm's packages, and Debian's for the native build; no image.
set -eu

say() { printf '%s\n' "quickstart: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

cd "$(dirname "$0")/.."
root=$PWD

[ "$(uname -s)" = Linux ] || fail 'containers need Linux'
[ "$(id -u)" = 0 ] || fail 'the quick start makes its container as root: try sudo npm run quickstart'
command -v node >/dev/null || fail 'Node.js is missing: version 20 or later is needed'
command -v npm >/dev/null || fail 'npm is missing'
node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' || fail "Node.js $(node --version) is too old: 20 is needed"

log=$(mktemp "${TMPDIR:-/tmp}/runt-quickstart.log.XXXXXX")
trap 'rm -f "$log"' EXIT

# Runs a step of the set-up; its output is shown only when it fails.
step() {
  say "$1"
  shift
  "$@" >"$log" 2>&1 </dev/null
}

installed=node_modules/.package-lock.json
if ! [ -e node_modules/.bin/tsx ] || ! [ -e $installed ] || [ -n "$(find package-lock.json -newer $installed)" ]; then
  step 'npm ci' npm ci --include=dev --no-audit --no-fund || {
    cat "$log" >&2
    fail 'npm ci failed'
  }
fi

if ! command -v gcc >/dev/null; then
  say 'gcc is missing, so the native command is not built (apt-get install gcc)'
  native=no
elif step 'npm run build:native (dist/runt)' npm run --silent build:native; then
  native=yes
else
  say "the native build failed: $(tail -n 1 "$log")"
  native=no
fi
if [ $native = yes ]; then
  set -- "$root/dist/runt" -- "$@"
else
  say 'going on with the Node.js engine: slower to start, otherwise the same'
  step 'npm run build (dist/node/runt.js)' npm run --silent build || {
    cat "$log" >&2
    fail 'the build failed'
  }
  set -- "$(command -v node)" "$root/dist/node/runt.js" -- "$@"
fi

rm -f "$log"
exec node --import tsx scripts/quickstart.ts "$@"
