# Shared by the set-up scripts, which source it: `. "$(dirname "$0")/lib.sh"`.
# They run from the top of the source tree, so that target/ is the one they mean.

cd "$(dirname "$0")/../.."
mkdir -p target/setup

say() { echo "setup: $*" >&2; }

die() {
    say "$*"
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

# Run a command as root, having said so.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        say "running: $*"
        "$@"
    elif have sudo; then
        say "running as root, by sudo: $*"
        sudo "$@"
    else
        die "this needs root, and there is no sudo here; as root, run: $*"
    fi
}

# install_packages WHY PACKAGE...: say what is about to be installed, then install it. Words that
# begin with `-` are apt's own (`-t SUITE`). Nothing that is installed is removed for it.
install_packages() {
    say "$1 needs Debian packages that are not installed: $(shift && echo "$*")"
    have apt-get || die "there is no apt here to install them"
    shift
    retry update_and_install "$@" || die "could not install all of: $* (see target/setup/apt.log)"
}

# An apt list that could not be brought up to date may not matter for what is wanted.
update_and_install() {
    as_root apt-get -qq update || say "going on with the lists of packages that there are"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --yes --no-remove --no-install-recommends "$@" >target/setup/apt.log
}
