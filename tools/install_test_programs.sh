#!/usr/bin/env bash
# Install the real programs that the tests use: as root on Debian by itself; elsewhere say what is
# missing and what the tests will skip for it.
set -u
cd "$(dirname "$0")/.."

newest=.tools/restic-newest/usr/bin/restic
programs=(restic strace setfacl setfattr prlimit setpriv tar pg_ctlcluster psql mariadbd mariadb-install-db mariadb
    mariadb-dump fusermount3 openssl systemd-analyze ssh sshd)
packages=(restic strace acl attr util-linux tar postgresql mariadb-server mariadb-client fuse3 openssl systemd
    openssh-client openssh-server)

missing=()
for program in "${programs[@]}"; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null 2>&1 || missing+=("$program")
done

may_install=no
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then may_install=yes; fi

if [ ${#missing[@]} -gt 0 ]; then
    if [ "$may_install" = yes ]; then
        echo "installing ${packages[*]}"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${packages[@]}"; } >/dev/null 2>&1 \
            || echo "apt-get could not install all of: ${packages[*]}"
    else
        echo "not installed: ${missing[*]}; tests that need them are skipped."
        echo "On Debian: sudo apt-get install ${packages[*]}"
    fi
fi

# The newest restic that Debian has: unpacked into .tools/, not installed.
fetch_newest() {
    local work=$PWD/.tools/apt mirror key
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -v security | head -n 1)
    [ -n "$mirror" ] || return 1
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/state"
    touch "$work/state/status"
    echo "deb [signed-by=$key] $mirror sid main" >"$work/sources.list"
    local options=(-o "Dir::State=$work/state" -o "Dir::State::status=$work/state/status" -o "Dir::State::lists=$work/lists"
        -o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=-" -o "Dir::Cache=$work/cache"
        -o "APT::Sandbox::User=root")
    apt-get "${options[@]}" update -qq >/dev/null 2>&1 || return 1
    (cd "$work" && apt-get "${options[@]}" download restic >/dev/null 2>&1) || return 1
    rm -rf .tools/restic-newest
    dpkg-deb -x "$work"/restic_*.deb .tools/restic-newest || return 1
    rm -rf "$work"
}

if [ ! -x "$newest" ]; then
    if command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1; then
        echo "fetching the newest restic of Debian"
        fetch_newest || echo "the newest restic could not be fetched; tests that need it are skipped"
    else
        echo "no Debian tools here: tests that need the newest restic are skipped"
    fi
fi
# Azure's own emulator of its Blob Storage, for those who have Node.
azurite=.tools/azurite/node_modules/.bin/azurite-blob
if [ ! -e "$azurite" ]; then
    if command -v npm >/dev/null 2>&1; then
        echo "fetching azurite"
        npm install --prefix .tools/azurite --no-audit --no-fund --loglevel=error azurite@3 >/dev/null 2>&1 \
            || echo "azurite could not be fetched; tests that need it are skipped, and fail in CI"
    else
        echo "no npm here: tests that need azurite are skipped, and fail in CI"
    fi
fi
exit 0
