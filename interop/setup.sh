#!/usr/bin/env bash
# The real peers on a fresh Debian 12: strongSwan and the tools by apt, libreswan
# in a Debian 13 folder of its own in the user's cache, which `setup.sh packages`
# leaves out. Run again, it finds all in place and does nothing. Prints what it
# does, one line each.
set -euo pipefail

die() { echo "interop/setup.sh: $*" >&2; exit 1; }
[[ $EUID == 0 ]] || die "installs packages: run it as root"
command -v apt-get >/dev/null || die "needs a Debian machine with apt"

# Debian 13 comes from where this machine's own packages come from.
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)}
[[ -n $mirror ]] || die "apt has no source of packages: name one in DEBIAN_MIRROR"
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/blackswan
trixie=$cache/trixie-libreswan-5.2-1 # libreswan.go looks for this name

packages=(
  strongswan-charon charon-systemd strongswan-swanctl strongswan-pki
  libcharon-extra-plugins libcharon-extauth-plugins
  libstrongswan-extra-plugins libstrongswan-standard-plugins
  tshark tcpdump iproute2 iputils-ping nftables iperf3 curl debootstrap openssl chromium
)

installed() { dpkg-query -W -f '${db:Status-Status}\n' "$@" 2>/dev/null | grep -c '^installed$' || true; }

install_packages() {
  [[ $(installed "${packages[@]}") == "${#packages[@]}" ]] && return
  echo "installing strongSwan, tshark, Chromium and the tools"
  # The daemons run only where a test starts them, never as services.
  local policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap "rm -f $policy" EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
}

# make_trixie builds the folder under a name of its own and renames it into
# place when it is whole, so that a killed run leaves nothing half made behind.
make_trixie() {
  [[ -d $trixie ]] && return
  mkdir -p "$cache"
  exec 9>"$cache/trixie.lock"
  flock 9
  [[ -d $trixie ]] && return
  rm -rf "$cache"/trixie-making.*
  local making=$cache/trixie-making.$$
  echo "making the libreswan folder $trixie (a few minutes, once)"
  debootstrap --variant=minbase trixie "$making" "$mirror" >"$cache/trixie.log" 2>&1 ||
    die "debootstrap failed: see $cache/trixie.log"
  printf '#!/bin/sh\nexit 101\n' >"$making/usr/sbin/policy-rc.d"
  chmod 755 "$making/usr/sbin/policy-rc.d"
  inside() { chroot "$making" env DEBIAN_FRONTEND=noninteractive "$@" >>"$cache/trixie.log" 2>&1; }
  inside apt-get install -qq -y --no-install-recommends libreswan libnss3-tools iproute2 ||
    inside apt-get -f install -qq -y || die "libreswan does not install: see $cache/trixie.log"
  inside apt-get clean
  chroot "$making" ipsec --version | grep -q 'Libreswan 5\.2' || die "Debian trixie no longer has libreswan 5.2"
  mv -T "$making" "$trixie"
}

install_packages
[[ ${1:-} == packages ]] || make_trixie
