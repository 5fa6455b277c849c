#!/usr/bin/env bash
# Installs the Debian packages that building, tests, bench and demo need. Nothing happens, and no
# network or root is needed, when all is there. Ends with 1 and one line if something can't be had.
#
# usage: scripts/deps.sh [tidy]      tidy: also clang-format and clang-tidy, which are large
set -euo pipefail

# PACKAGE=COMMAND: that command in PATH will do, wherever it came from. PACKAGE alone: dpkg knows.
needed=(
	gcc=gcc g++=g++ make=make libc6-dev binutils=readelf python3=python3  # build, scripts
	libcriterion-dev                                                      # tests/unit, tests/prop
	git=git perl=perl gawk=gawk sqlite3=sqlite3 nodejs=node xz-utils=xz   # tests/programs
	redis-server=redis-server redis-tools=redis-benchmark nginx-light=/usr/sbin/nginx jq=jq
	valgrind=valgrind gdb=gdb procps=ps util-linux=setarch                # tests/process, a failure
	libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4                      # bench
	libgc-dev golang-go=go                                                # gc-bench
	heaptrack=heaptrack liblsan0 libunwind8                               # leaks-cost, leaks
	gnuplot-nox=gnuplot time=/usr/bin/time elfutils=eu-addr2line protobuf-compiler=protoc
)
[ "${1:-}" != tidy ] || needed+=(clang-format=clang-format clang-tidy=clang-tidy)

missing()
{
	local entry package
	local -A installed=()
	while read -r package; do
		installed[$package]=1
	done < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null |
		sed -n 's/^installed //p')
	for entry in "${needed[@]}"; do
		package=${entry%%=*}
		if [ "$entry" != "$package" ] && command -v "${entry#*=}" >/dev/null; then continue; fi
		[ -n "${installed[$package]:-}" ] || echo "$package"
	done
}

fail()
{
	echo "deps.sh: $*" >&2
	exit 1
}

mapfile -t wanted < <(missing)
[ ${#wanted[@]} -gt 0 ] || exit 0
command -v apt-get >/dev/null || fail "missing, and no apt-get here: ${wanted[*]}"
as_root=()
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || fail "missing, and neither root nor sudo: ${wanted[*]}"
	as_root=(sudo)
	[ -t 0 ] || as_root+=(-n)
	"${as_root[@]}" true 2>/dev/null || fail "missing, and sudo refuses: ${wanted[*]}"
fi

# The packages of redis-server and nginx start a service where there is something to start it; we
# want the programs only. policy-rc.d is Debian's way to forbid that; one that is there already stays.
policy=/usr/sbin/policy-rc.d
log=$(mktemp)
own_policy=false
cleanup()
{
	rm -f "$log"
	if $own_policy; then "${as_root[@]}" rm -f "$policy"; fi
}
trap cleanup EXIT
if [ ! -e "$policy" ]; then
	own_policy=true
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
	"${as_root[@]}" chmod 755 "$policy"
fi

apt()
{
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" \
		</dev/null >>"$log" 2>&1
}

echo "deps.sh: installing ${wanted[*]}"
apt update || true                              # an old list may do
known=()
unknown=()
for package in "${wanted[@]}"; do
	if [ -n "$(apt-cache policy "$package" 2>/dev/null)" ]; then
		known+=("$package")
	else
		unknown+=("$package")
	fi
done
[ ${#known[@]} -eq 0 ] || apt install -y --no-install-recommends "${known[@]}" || true
# Nor at the next boot.
for service in redis-server nginx; do
	if [[ " ${known[*]} " == *" $service"* ]] && command -v update-rc.d >/dev/null; then
		"${as_root[@]}" update-rc.d "$service" disable >/dev/null 2>&1 || true
	fi
done

mapfile -t still < <(missing)
[ ${#still[@]} -eq 0 ] && exit 0
if [ "${still[*]}" = "${unknown[*]}" ]; then
	fail "cannot install ${still[*]}: not in apt's lists"
fi
fail "cannot install ${still[*]}: $(grep '^E:' "$log" | tail -n 1)"
