# Shared by the set-up scripts, which source it: `. "$(dirname "$0")/lib.sh"`.
# They run from the top of the source tree, so that target/ is the one they mean.

cd "$(dirname "$0")/../.."

say() { echo "setup: $*"; }

die() {
    echo "setup: $*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Run a command up to three times: a mirror that is being brought up to date fails for a moment.
retry() {
    for pause in 5 20 0; do
        "$@" && return 0
        [ "$pause" = 0 ] || { say "that failed; trying again in $pause s" && sleep "$pause"; }
    done
    return 1
}

# The Debian archive this machine itself uses: whatever its own apt sources name.
debian_archive() {
    archive=${DEBIAN_ARCHIVE:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
        grep -m 1 '/debian/*$')} || die "no Debian archive among this machine's apt sources;" \
        "name one in the environment variable DEBIAN_ARCHIVE"
    echo "$archive"
}
