# Debian's packages for ppc64el, for the set-up scripts that source this after lib.sh.
#
# apt does the fetching and checks Debian's signatures, but with a state of its own under
# target/apt: the machine's list of architectures and packages stays as it is, and no root is
# needed. To this apt nothing is installed.

state=$PWD/target/apt
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
suites="bookworm bookworm-backports"

have apt-get && have dpkg-deb && [ -e $keyring ] ||
    die "the ppc64le inputs come from Debian: this needs apt, dpkg and debian-archive-keyring"

private_apt() {
    command=$1
    shift
    "$command" \
        -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" \
        -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts="$state/none" \
        -o APT::Architecture=ppc64el -o APT::Architectures=ppc64el \
        -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}

# Its own names: the caller's are the shell's, too.
update_private_apt() {
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/none"
    : >"$state/status"
    private_archive=$(debian_archive)
    for private_suite in $suites; do
        echo "deb [arch=ppc64el signed-by=$keyring] $private_archive $private_suite main"
    done >"$state/sources.list"
    retry private_apt apt-get -qq update
}
