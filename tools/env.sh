# Sourced by the other scripts in tools/: where things are, and how to speak, fail and become root.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# The packages' output is parsed in places, and make's variables would leak into the builds that are started here:
# PostgreSQL's makefiles behave differently below another make.
export LC_ALL=C.UTF-8
unset MAKEFLAGS MFLAGS MAKELEVEL

[ -d "${CARGO_HOME:-$HOME/.cargo}/bin" ] && PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

# Root's home is closed to the user postgres, who has to execute what is built here.
if [ "$(id -u)" = 0 ]; then
  default_cache=/var/cache/authz_ext
else
  default_cache=${XDG_CACHE_HOME:-$HOME/.cache}/authz_ext
fi
cache=${AUTHZ_CACHE:-$default_cache}

# Compiled crates, a directory per PostgreSQL version below it: the versions would otherwise rebuild each other.
target=${AUTHZ_TARGET:-$root/target}

# cargo-pgrx 0.18 builds with a linker flag of its own that keeps unreferenced sections, so that cargo and cargo pgrx
# would each compile every dependency. Where the flag is not needed (checked by tools/build), do without.
if [ "$(uname -m)" = x86_64 ]; then
  export CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND=1
fi

PGRX_VERSION=0.18.1
SUPPORTED_VERSIONS="15 16 17 18"

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

can_be_root() { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }

# Run a command as root. The first argument says what for, in case it cannot be done.
as_root() {
  local purpose=$1
  shift
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo --preserve-env=DEBIAN_FRONTEND "$@"
  else
    die "$purpose needs root, and sudo is not here. As root, run: $*"
  fi
}

# PostgreSQL refuses to run as root: its programs run as the user postgres there, else as oneself. That user may not be
# allowed into the current directory, so paths among the arguments have to be absolute.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then
    (cd / && exec runuser -u postgres -- "$@")
  else
    "$@"
  fi
}

# quietly COMMAND...: its output is of interest only if it fails.
quietly() {
  local output
  output=$("$@" 2>&1) || { printf '%s\n' "$output" | tail -n 40 >&2; die "failed: $*"; }
}

# Every program of apt waits for another one's lock.
apt_get() { as_root "installing Debian packages" apt-get -qq -o DPkg::Lock::Timeout=600 "$@"; }

# apt_install PACKAGE...: what is installed already is left as it is, so that no running server is restarted.
apt_install() {
  command -v apt-get >/dev/null || die "no apt-get on this machine; install by hand what Debian calls: $*"
  say "installing Debian packages: $* (about 2 minutes)"
  quietly apt_get update
  # Some packages start a service when they are installed. Nobody asked for one.
  local policy=/usr/sbin/policy-rc.d ours=
  if [ ! -e "$policy" ]; then
    ours=1
    printf '#!/bin/sh\nexit 101\n' | as_root "installing packages" tee "$policy" >/dev/null
    as_root "installing packages" chmod 755 "$policy"
  fi
  DEBIAN_FRONTEND=noninteractive quietly apt_get -y --no-install-recommends --no-upgrade install "$@"
  [ -z "$ours" ] || as_root "installing packages" rm -f "$policy"
}

# The major version of a pg_config, such as 15.
pg_major() { "$1" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/'; }
