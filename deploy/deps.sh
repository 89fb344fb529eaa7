#!/bin/sh
# deploy/deps.sh: everything that building and testing needs, from Debian 12
# and npm.  `make deps` runs it.  Installs only what is missing; on a machine
# that has everything it only looks, in well under a second.  With --examples
# also what the examples run, with --tests what tests look at besides, with
# --fuzz the second fuzzer, and nothing that fuzzing does without (npm).
set -eu

PACKAGES="
	build-essential clang clang-format llvm libclang-rt-14-dev
	cppcheck valgrind spin
	pkg-config git curl ca-certificates jq procps python3
	libssl-dev libsecp256k1-dev libsodium-dev
	libnng-dev libnanomsg-dev liblmdb-dev libcriterion-dev
	libuv1-dev libjansson-dev libcurl4-openssl-dev
	libcyaml-dev libprotobuf-c-dev protobuf-c-compiler libcbor-dev zlib1g-dev
	libseccomp-dev
"
# For deploy/examples and tests: --examples and --tests.
EXAMPLE_PACKAGES="postgresql python3-cryptography python3-psycopg2"
TEST_PACKAGES="clang-tidy python3-venv"
# For `make fuzz-afl`; libFuzzer is clang's.
FUZZ_PACKAGES="afl++"
# For tests/e2e/dashboard.sh alone; a large download.
TEST_EXTRAS="chromium"
# Consensus: Debian 12's own libraft 0.15 commits what it must not (figure 8 of
# the raft paper; tests/unit/test_raftlib.c), so this one comes from backports.
BACKPORTS="libraft-dev"
BACKPORTS_VERSION_MIN=0.22
NODE_PACKAGES="nodejs npm"
NODE_MIN=18
# Folders with a package-lock.json.
NODE_FOLDERS="contracts tests/js deploy/examples deploy/helios"

case ${1:-} in
'') ;;
--examples) PACKAGES="$PACKAGES $EXAMPLE_PACKAGES" ;;
--tests) PACKAGES="$PACKAGES $EXAMPLE_PACKAGES $TEST_PACKAGES" ;;
--fuzz) PACKAGES="$PACKAGES $FUZZ_PACKAGES" NODE_FOLDERS='' ;;
*)
	echo "usage: deploy/deps.sh [--examples | --tests | --fuzz]" >&2
	exit 2
	;;
esac

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

say() {
	echo "deps: $*"
}

die() {
	echo "deps: $*" >&2
	exit 1
}

# as_root command...: sudo is needed only by those who are not root.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		die "cannot install packages: not root, and no sudo here." \
		    "As root: apt-get install -y --no-install-recommends$missing"
	fi
}

apt() {
	# Wait for somebody else's apt rather than fail, never ask a question.
	as_root env DEBIAN_FRONTEND=noninteractive \
	    apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

# backports_source: adds the suite, by the mirror that the machine's own sources
# use, and pins it so that nothing else ever comes from it.  A machine that has
# the suite already keeps its own settings.
backports_source() {
	if apt-cache policy | grep -q 'n=bookworm-backports'; then
		return
	fi
	mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' \
	    'Created-By: Packages' | awk '$2 == "bookworm" { print $1; exit }')
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -n "$mirror" ] || die "no source for bookworm in apt's settings"
	say "apt: adding bookworm-backports for $BACKPORTS alone"
	printf '%s\n' 'Types: deb' "URIs: $mirror" \
	    'Suites: bookworm-backports' 'Components: main' \
	    "Signed-By: $keyring" |
	    as_root tee /etc/apt/sources.list.d/devproof-kms-backports.sources \
	    >/dev/null
	printf '%s\n' 'Package: *' 'Pin: release n=bookworm-backports' \
	    'Pin-Priority: -1' '' 'Package: libraft-dev libraft0' \
	    'Pin: release n=bookworm-backports' 'Pin-Priority: 500' |
	    as_root tee /etc/apt/preferences.d/devproof-kms-backports >/dev/null
}

# raft_is_enough: the package may be there in Debian 12's own version.
raft_is_enough() {
	have=$(dpkg-query -W -f '${db:Status-Abbrev}${Version}' libraft-dev \
	    2>/dev/null | sed -n 's/^.i //p')
	[ -n "$have" ] && dpkg --compare-versions "$have" ge \
	    "$BACKPORTS_VERSION_MIN"
}

# node and npm may come from anywhere, as long as they are new enough.
node_is_enough() {
	[ -z "$NODE_FOLDERS" ] && return
	command -v npm >/dev/null 2>&1 &&
	    node -e "process.exit(+!(parseInt(process.versions.node) >= $NODE_MIN))" \
	    2>/dev/null
}

# missing_of package...: prints those that are not installed.
missing_of() {
	dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "$@" 2>/dev/null |
	    sed -n 's/^.i //p' | sort >"$tmp/have"
	printf '%s\n' "$@" | sort | comm -23 - "$tmp/have"
}

# npm_folder folder: node_modules as the lockfile says.  The stamp is a copy of
# the lockfile, left by the last run that finished.
npm_folder() {
	if cmp -s "$1/package-lock.json" "$1/node_modules/.installed"; then
		say "$1: already there"
		return
	fi
	say "$1: npm ci"
	(cd "$1" && npm ci --ignore-scripts --no-audit --no-fund \
	    --loglevel=error)
	cp "$1/package-lock.json" "$1/node_modules/.installed"
}

command -v dpkg-query >/dev/null 2>&1 ||
    die "this needs Debian 12 (or a container of it): no dpkg here"

# One run at a time; flock is in Debian's base system.
exec 9<"$0"
flock 9

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# The list is one package a word.
# shellcheck disable=SC2086
missing=$(missing_of $PACKAGES)
if ! node_is_enough; then
	# shellcheck disable=SC2086
	missing="$missing $(missing_of $NODE_PACKAGES)"
fi
missing=$(echo " $missing" | tr -s ' \n' ' ' | sed 's/ $//')

if [ -z "$missing" ] && raft_is_enough; then
	say "Debian packages: already there"
else
	say "Debian packages: installing$missing"
	raft_is_enough || backports_source
	apt update
	if ! raft_is_enough; then
		apt install --no-install-recommends -t bookworm-backports \
		    $BACKPORTS
	fi
	if [ -n "$missing" ]; then
		# shellcheck disable=SC2086
		apt install --no-install-recommends $missing
	fi
fi
raft_is_enough || die "libraft >= $BACKPORTS_VERSION_MIN is needed"
node_is_enough || die "node >= $NODE_MIN and npm are needed; found:" \
    "node $(node --version 2>/dev/null || echo none)," \
    "npm $(npm --version 2>/dev/null || echo none)"

# What cannot be had here is skipped by the test that wants it.
if [ "${1:-}" = --tests ]; then
	# shellcheck disable=SC2086
	extra=$(missing_of $TEST_EXTRAS)
	if [ -n "$extra" ]; then
		say "for single tests: installing $extra"
		# shellcheck disable=SC2086
		{ apt update && apt install --no-install-recommends $extra; } ||
		    say "cannot be installed, its tests are skipped: $extra"
	fi
fi

cd "$top"
for folder in $NODE_FOLDERS; do
	npm_folder "$folder"
done
