# The compiler of the guests. Sourced by `build`; prints nothing but what its functions say.
#
# Way 3 (see README.md): Debian stable carries Rust's std for both WASI targets. The packages are unpacked into a folder
# of their own, so the machine's own packages stay as they are, and the compiler runs through the loader that came with it.
# shellcheck shell=bash

# The Debian release whose compiler builds the committed guests.
readonly GUEST_SUITE=trixie
# What is installed; dependencies follow.
readonly GUEST_PACKAGES=(rustc libstd-rust-dev-wasm32 wasi-libc)
# The packages whose versions decide the bytes of a guest.
readonly GUEST_PINS=(rustc libstd-rust-dev-wasm32 wasi-libc libllvm19)

# Prints "URI KEYRING" of the first Debian archive that this machine's apt uses, from either form of its sources.
debian_archive() {
    local releases='(^| )(oldstable|stable|testing|unstable|sid|bullseye|bookworm|trixie|forky)($|[ -])'
    {
        shopt -s nullglob
        local file
        for file in /etc/apt/sources.list.d/*.sources; do
            # Paragraph mode: one stanza a record, one field a line.
            awk -v releases="$releases" 'BEGIN { RS = ""; FS = "\n" }
                {
                    delete field
                    for (i = 1; i <= NF; i++) {
                        if ($i ~ /^#/) continue
                        at = index($i, ":")
                        if (at && $i !~ /^[ \t]/) {
                            value = substr($i, at + 1); sub(/^[ \t]+/, "", value)
                            field[tolower(substr($i, 1, at - 1))] = value
                        }
                    }
                    if (tolower(field["enabled"]) == "no" || field["types"] !~ /(^| )deb( |$)/) next
                    if (field["suites"] ~ /security/ || field["suites"] !~ releases) next
                    split(field["uris"], uri, " ")
                    print uri[1], field["signed-by"]
                }' "$file"
        done
        for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
            [[ -f $file ]] || continue
            awk -v releases="$releases" '$1 == "deb" {
                    key = ""
                    if (match($0, /signed-by=[^] ]+/)) key = substr($0, RSTART + 10, RLENGTH - 10)
                    sub(/\[[^]]*\]/, "")
                    if ($3 !~ /security/ && $3 ~ releases) print $2, key
                }' "$file"
        done
    } | awk 'NR == 1 {
            # An embedded key or none: the keyring package knows the archive.
            if ($2 !~ /^\//) $2 = "/usr/share/keyrings/debian-archive-keyring.gpg"
            print $1, $2
        }'
}

# Unpacks the toolchain below $1 and points $1/current at it. A finished one is taken as it is.
debian_toolchain() {
    local cache=$1 archive uri keyring
    [[ -f $cache/current/PACKAGES ]] && return 0
    [[ $(uname -sm) == "Linux x86_64" ]] || die "way 3 needs Linux on x86-64; use rustup instead"
    command -v dpkg apt-get >/dev/null || die "way 3 needs apt and dpkg; use rustup instead"
    archive=$(debian_archive)
    [[ -n $archive ]] || die "apt on this machine names no Debian archive; use rustup instead"
    read -r uri keyring <<<"$archive"
    [[ -f $keyring ]] || die "the Debian keyring is missing; install debian-archive-keyring"

    local apt=$cache/apt
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    : >"$apt/status"
    printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$uri" "$GUEST_SUITE" >"$apt/sources.list"
    private_apt "$apt" -q update >"$apt/log" 2>&1 || die "apt cannot read $GUEST_SUITE, see $apt/log"
    private_apt "$apt" -q install -y --no-install-recommends --download-only "${GUEST_PACKAGES[@]}" >>"$apt/log" 2>&1 ||
        die "apt cannot fetch the compiler, see $apt/log"

    local packages key root deb
    # shellcheck disable=SC2016  # dpkg-deb expands these
    packages=$(for deb in "$apt"/archives/*.deb; do dpkg-deb -W --showformat='${Package} ${Version}\n' "$deb"; done | sort)
    key=$(printf '%s\n' "$packages" | sha256sum | cut -c1-16)
    root=$cache/$key
    rm -rf "$root"
    mkdir -p "$root"
    for deb in "$apt"/archives/*.deb; do dpkg -x "$deb" "$root"; done
    write_wrapper "$root"
    rm -rf "$apt/archives" "$apt/lists"
    printf '%s\n' "$packages" >"$root/PACKAGES"
    ln -sfn "$key" "$cache/current"
}

# apt with lists, cache, state and preferences of its own below $1; needs no root.
private_apt() {
    local apt=$1
    shift
    apt-get -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State="$apt" -o Dir::State::Lists="$apt/lists" -o Dir::State::status="$apt/status" \
        -o Dir::Cache="$apt" -o Dir::Cache::archives="$apt/archives" \
        -o APT::Sandbox::User= -o Debug::NoLocking=1 -o APT::Architecture=amd64 -o APT::Architectures=amd64 "$@"
}

# The compiler was linked against a newer C library than the machine may have: run it through its own loader.
write_wrapper() {
    local root=$1
    cat >"$root/rustc" <<'WRAPPER'
#!/bin/sh
R=$(dirname "$(readlink -f "$0")")
exec "$R/usr/lib64/ld-linux-x86-64.so.2" --library-path "$R/usr/lib/x86_64-linux-gnu:$R/usr/lib/llvm-19/lib" \
    "$R/usr/bin/rustc" --sysroot "$R/usr" "$@"
WRAPPER
    chmod +x "$root/rustc"
}

# Prints the versions of what made the guests, one a line: compiler $1, linkers in folder $2, package list $3 (or "").
toolchain_versions() {
    local rustc=$1 linkers=$2 packages=$3 pin
    "$rustc" -vV | awk '/^rustc / || /^LLVM version/'
    cargo --version
    # rust-lld picks its flavour by name; the folder gcc-ld holds it under that of the wasm linker.
    "$linkers/gcc-ld/wasm-ld" --version | head -n 1
    "$linkers/wasm-component-ld" --version | head -n 1
    [[ -n $packages ]] || return 0
    for pin in "${GUEST_PINS[@]}"; do
        awk -v pin="$pin" '$1 == pin { print "debian " $1 " " $2 }' "$packages"
    done
}
