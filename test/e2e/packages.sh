#!/bin/sh
# Installs the Debian packages that machines made of namespaces need, without
# starting the services that some of them bring.
set -eu

packages="containerd runc containernetworking-plugins iptables conntrack haproxy iproute2 procps util-linux mount awscli gcc libc6-dev"

missing=
for package in $packages; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "not installed:$missing; run as root" >&2
	exit 1
fi

# This is what packages' scripts ask before they start a service.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
apt-get update -q
# shellcheck disable=SC2086 # the list is words
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
