# Shared by the set-up scripts, which source it: `. "$(dirname "$0")/lib.sh"`.
# They run from the top of the source tree, so that target/ is the one they mean.

cd "$(dirname "$0")/../.."
mkdir -p target/setup
# Programs that work for any user, where Debian has root alone look: depmod, mke2fs.
export PATH="$PATH:/usr/sbin:/sbin"

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

# Print a folder as a cpio archive, the same bytes on every machine: sorted, owned by root, with one
# time for every file. That time is long past, so that `ls -l` prints a year and not the hour,
# whatever a domain takes the date to be.
archive() (
    cd "$1"
    find . -exec touch -h -d @946684800 {} +
    find . | LC_ALL=C sort | cpio --quiet --create --format newc --reproducible --owner +0:+0
)

# The Debian archive this machine itself uses: whatever its own apt sources name.
debian_archive() {
    archive=${DEBIAN_ARCHIVE:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
        grep -m 1 '/debian/*$')} || die "no Debian archive among this machine's apt sources;" \
        "name one in the environment variable DEBIAN_ARCHIVE"
    echo "$archive"
}

# Run a command as root, having said so.
as_root() {
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    say "running: ${sudo:+$sudo }$*"
    $sudo "$@"
}

# announce_packages WHY PACKAGE...: say what is missing and is about to be installed; end here, with
# that list as the last word, where this user of this machine cannot install it.
announce_packages() {
    why=$1
    shift
    say "$why needs packages of Debian's that are not here: $*"
    have apt-get || die "and there is no apt to install them with"
    [ "$(id -u)" = 0 ] || have sudo || die "and that takes root: become root, or install sudo"
}

# install_packages PACKAGE...: after announce_packages. Words that begin with `-` are apt's own
# (`-t SUITE`). Nothing that is installed is removed for it.
install_packages() {
    retry update_and_install "$@" || die "could not install all of: $* (see target/setup/apt.log)"
}

# An apt list that could not be brought up to date may not matter for what is wanted.
update_and_install() {
    as_root apt-get -qq update || say "going on with the lists of packages that there are"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --yes --no-remove --no-install-recommends "$@" >target/setup/apt.log
}
