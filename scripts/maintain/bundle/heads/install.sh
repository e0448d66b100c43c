#!/bin/sh
# Installs the environment @name@ from this very file: sh FILE --help
# A tar with everything follows this script, so do not edit it. POSIX sh; needs tar, gzip and a SHA-256 program.
set -u
LC_ALL=C
export LC_ALL
unset CDPATH LD_LIBRARY_PATH LD_PRELOAD

name='@name@' environment='@environment@' platform='@platform@'
glibc='@glibc@' kernel='@linux@' macos='@osx@'
need_kib=@need_kib@ prefix_max=@prefix_max@
volumes=@volumes@ payload_size=@payload_size@
payload_sha256=@payload_sha256@
engine_skip=@engine_skip@ engine_size=@engine_size@ list_skip=@list_skip@ list_size=@list_size@
head_size=32768

help() {
    cat <<EOF
Install $name without root, compiler, Python, conda or network.

  sh $0 [--prefix DIR]

  --prefix DIR     where to [~/.local/share/prefect-env/$environment]
  --versions DIR   into DIR/$name, and point DIR/current at it when it is ready
  --rollback       with --versions: point DIR/current back at the version before
  --uninstall      remove the environment at --prefix
  --airgap         settings for hosts without a way out: no telemetry, no look-ups
  --site FILE      a settings file of the site (KEY=value), as often as you like
  --ca FILE        a private CA (PEM) to trust besides the public ones
  --proxy URL      the proxy to use
  --shared         readable by all users of this host
  --no-compile     no byte code: quicker to install, slower to start
  --no-doctor      no check at the end
  --key FILE       refuse the bundle unless it is signed by this public key
  --base FILE      the bundle that this one is a delta to
  --batch          ask nothing
  --dry-run        check host, file and place; write nothing
  --verify-only    check the file; write nothing
  --list           show the packages; write nothing
  --extract DIR    write the bundle's files: a channel for conda, pixi-unpack, micromamba
  --json           the result, or the error, as one JSON object
Exit codes: 0 done, 1 a step failed, 2 usage, 4 damaged or forged, 5 this host cannot, 6 busy or not ours.
Run it again after an interruption; it goes on or starts over, and never leaves half an environment.
EOF
}

say() { printf '%s\n' "$*" >&2; }

quoted() { printf '%s' "$1" | tr '\n\t' '  ' | tr -d '\000-\037' | sed 's/[\\"]/\\&/g; s/^/"/; s/$/"/'; }

# fail CODE ID WHAT WHERE WHY FIX
fail() {
    if [ -n "$json" ]; then
        printf '{"error": "%s", "exit_code": %s, "what": %s, "where": %s, "why": %s, "fix": %s}\n' \
            "$2" "$1" "$(quoted "$3")" "$(quoted "$4")" "$(quoted "$5")" "$(quoted "$6")"
    else
        say "error: $3 [$2]"
        [ -z "$4" ] || say "  where: $4"
        [ -z "$5" ] || say "  why: $5"
        [ -z "$6" ] || say "  fix: $6"
    fi
    exit "$1"
}

# older A B: whether version A comes before version B
older() {
    a=$1. b=$2.
    while [ -n "$a$b" ]; do
        x=${a%%.*} y=${b%%.*}
        a=${a#*.} b=${b#*.}
        x=${x%%[!0-9]*} y=${y%%[!0-9]*}
        [ "${x:-0}" -ge "${y:-0}" ] || return 0
        [ "${x:-0}" -le "${y:-0}" ] || return 1
    done
    return 1
}

too_old() { # WHAT FOUND NEEDED
    fail 5 unsupported-host "this host's $1 is too old" "$(uname -n)" "it is $2, the packages need $3" \
        "install on a newer system, or take a bundle made for an older one"
}

check_host() {
    system=$(uname -s) machine=$(uname -m)
    case $platform/$system/$machine in
        linux-64/Linux/x86_64 | linux-aarch64/Linux/aarch64 | linux-aarch64/Linux/arm64) ;;
        osx-64/Darwin/x86_64 | osx-arm64/Darwin/arm64) ;;
        *) fail 5 unsupported-host "this file is for $platform" "$(uname -n)" "this host is $system $machine" \
            "take the file for this platform" ;;
    esac
    if [ -n "$glibc" ]; then
        # The override is conda's and pixi's: https://docs.conda.io, "Virtual packages".
        have=${CONDA_OVERRIDE_GLIBC-$(getconf GNU_LIBC_VERSION 2>/dev/null | sed 's/^glibc //')}
        [ -n "$have" ] || fail 5 unsupported-host "this host has no glibc" "$(uname -n)" \
            "conda's packages for Linux need glibc $glibc or newer" "install on a system with glibc (not Alpine)"
        ! older "$have" "$glibc" || too_old glibc "$have" "$glibc or newer"
    fi
    if [ -n "$kernel" ]; then
        have=${CONDA_OVERRIDE_LINUX-$(uname -r)}
        ! older "$have" "$kernel" || too_old kernel "$have" "$kernel or newer"
    fi
    if [ -n "$macos" ]; then
        have=${CONDA_OVERRIDE_OSX-$(sw_vers -productVersion 2>/dev/null)}
        ! older "$have" "$macos" || too_old macOS "$have" "$macos or newer"
    fi
}

cannot() { fail 5 not-writable "the environment cannot be made there" "$1" "$2" "choose another --prefix"; }

# The nearest folder above the prefix that exists; everything is written there or below.
find_parent() {
    parent=$(dirname -- "$prefix")
    while [ ! -e "$parent" ]; do parent=$(dirname -- "$parent"); done
}

check_place() {
    newline='
'
    case $prefix in
        *[:\"\$\`\\]* | *"$newline"*)
            fail 2 bad-usage "the path of the prefix has a character that scripts cannot hold" "$prefix" \
                "none of : \" \$ \` \\ and no line break may be in it" "choose another --prefix" ;;
    esac
    [ "${#prefix}" -le "$prefix_max" ] || fail 2 bad-usage "the path of the prefix is too long" "$prefix" \
        "it has ${#prefix} bytes, the programs have room for $prefix_max" "choose a shorter --prefix"
    find_parent
    if [ ! -d "$parent" ] || [ ! -w "$parent" ] || [ ! -x "$parent" ]; then
        cannot "$parent" "no permission to make a folder there, or the file system is read-only"
    fi
    if [ -r /proc/self/mounts ]; then
        mount_point=$(df -P "$parent" | tail -n 1 | sed 's/.*% //')
        options=
        while read -r _ point _ found _; do
            [ "$(printf '%b' "$point")" != "$mount_point" ] || options=$found
        done </proc/self/mounts
        case ,$options, in
            *,noexec,*) cannot "$mount_point" "programs cannot be run there: it is mounted noexec" ;;
        esac
    fi
    case $(umask) in
        *0??) ;;
        *) cannot "$prefix" "umask $(umask) would lock you out of your own files; try: umask 022" ;;
    esac
    if [ -e "$prefix" ] && [ ! -f "$prefix/conda-meta/prefect-env" ]; then
        if [ ! -d "$prefix" ] || [ -n "$(ls -A "$prefix")" ]; then
            fail 6 not-ours "the prefix holds something that this installer did not make" "$prefix" "it is not empty" \
                "choose another --prefix, or move that folder away"
        fi
    fi
    free_kib=$(df -Pk "$parent" | tail -n 1 | sed 's/.* \([0-9][0-9]*\)  *[0-9]*% .*/\1/')
    [ "$free_kib" -ge "$need_kib" ] || fail 5 disk-full "there is not enough room" "$parent" \
        "$((need_kib / 1024)) MiB are needed, $((free_kib / 1024)) MiB are free" "free some space, or choose another --prefix"
}

everything() {
    number=1
    while [ "$number" -le "$volumes" ]; do
        cat "${self%001}$(printf '%03d' "$number")" || return
        number=$((number + 1))
    done
}

payload() {
    if [ "$volumes" -eq 0 ]; then
        tail -c "+$((head_size + 1))" "$self"
    else
        everything | tail -c "+$((head_size + 1))"
    fi
}
member() { payload 2>/dev/null | tail -c "+$(($1 + 1))" | head -c "$2"; }

sha256() {
    if command -v sha256sum >/dev/null; then
        sha256sum | cut -c 1-64
    elif command -v shasum >/dev/null; then
        shasum -a 256 | cut -c 1-64
    else
        openssl dgst -sha256 | sed 's/.* //'
    fi
}

check_file() {
    if ! command -v sha256sum >/dev/null && ! command -v shasum >/dev/null && ! command -v openssl >/dev/null; then
        fail 5 missing-program "there is no program to verify the bundle with" "PATH=$PATH" \
            "one of sha256sum, shasum, openssl is needed" "install coreutils"
    fi
    if [ "$volumes" -gt 0 ]; then
        number=1
        while [ "$number" -le "$volumes" ]; do
            volume=${self%001}$(printf '%03d' "$number")
            [ -r "$volume" ] || fail 2 bad-usage "a volume is missing" "$volume" "there are $volumes" \
                "copy all of them into one folder, and run the one that ends in 001"
            number=$((number + 1))
        done
    fi
    found=$(payload | sha256)
    [ "$found" = "$payload_sha256" ] || fail 4 hash-mismatch \
        "the bundle is damaged or was changed; nothing of it was used" "$self" \
        "sha256 is $found ($(payload | wc -c | tr -d ' ') bytes), expected $payload_sha256 ($payload_size bytes)" \
        "copy it again and compare it with its .sha256 file; if it stays so, ask who made it"
}

run_engine() {
    for stale in "$parent"/.prefect-env.boot.*; do
        [ ! -d "$stale" ] || kill -0 "${stale##*.}" 2>/dev/null || rm -rf "$stale" 2>/dev/null
    done
    boot=$parent/.prefect-env.boot.$$
    trap 'rm -rf "$boot"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    mkdir -m 700 "$boot" || cannot "$parent" "no folder can be made there"
    member "$engine_skip" "$engine_size" | gzip -dc | tar -xf - -C "$boot" || cannot "$boot" "the engine cannot be unpacked"
    "$boot/bin/python" -I -S "$boot/engine" --bundle "$self" "$@"
}

main() {
    json='' prefix='' versions='' mode=install batch='' key='' shared='' extract=''
    count=$#
    while [ "$count" -gt 0 ]; do
        option=$1
        shift
        count=$((count - 1))
        case $option in
            --*=*) set -- "${option#*=}" "$@"; option=${option%%=*}; count=$((count + 1)) ;;
        esac
        case $option in
            --prefix | --versions | --site | --ca | --proxy | --key | --base | --extract)
                [ "$count" -gt 0 ] || fail 2 bad-usage "$option needs a value" "" "" "see --help"
                case $option in
                    --prefix) prefix=$1 ;;
                    --versions) versions=$1 ;;
                    --extract) mode=extract extract=$1 ;;
                    *) set -- "$@" "$option" "$1" ;;
                esac
                [ "$option" != --key ] || key=$1
                shift
                count=$((count - 1)) ;;
            --help | -h) help; exit 0 ;;
            --json) json=yes; set -- "$@" "$option" ;;
            --batch) batch=yes ;;
            --shared) shared=yes ;;
            --dry-run) mode=dry-run ;;
            --list) mode=list ;;
            --verify-only) mode=verify; set -- "$@" "$option" ;;
            --uninstall) mode=uninstall; set -- "$@" "$option" ;;
            --rollback) mode=rollback; set -- "$@" "$option" ;;
            --airgap | --no-compile | --no-doctor) set -- "$@" "$option" ;;
            *) fail 2 bad-usage "there is no option $option" "$self" "" "see --help" ;;
        esac
    done
    [ -z "$shared" ] || umask 022
    case $mode in
        list) check_file; member "$list_skip" "$list_size"; return ;;
        extract)
            check_file
            { mkdir -p "$extract" && [ -z "$(ls -A "$extract")" ]; } ||
                fail 6 not-ours "the folder is not empty" "$extract" "" "name a new one"
            payload | tar -xf - -C "$extract"
            return ;;
        verify)
            if [ -z "$key" ]; then
                check_file
                [ -z "$json" ] || printf '{"bundle": "%s", "verified": true}\n' "$name"
                say "$self is whole"
                return
            fi ;;
    esac
    if [ -n "$versions" ]; then
        case $versions in /*) ;; *) versions=$(pwd)/$versions ;; esac
        set -- "$@" --versions "${versions%/}"
        prefix=${prefix:-${versions%/}/$name}
    fi
    if [ -z "$prefix" ]; then
        [ -n "${XDG_DATA_HOME-}${HOME-}" ] || fail 2 bad-usage "there is no HOME to install into" "" "" "name a --prefix"
        prefix=${XDG_DATA_HOME:-$HOME/.local/share}/prefect-env/$environment
    fi
    case $prefix in /*) ;; *) prefix=$(pwd)/$prefix ;; esac
    prefix=${prefix%/}
    check_host
    if [ "$mode" = install ] || [ "$mode" = dry-run ]; then check_place; else find_parent; fi
    check_file
    if [ "$mode" = dry-run ]; then
        [ -z "$json" ] || printf '{"prefix": %s, "bundle": "%s", "dry_run": true}\n' "$(quoted "$prefix")" "$name"
        say "$name can be installed at $prefix"
        return
    fi
    if [ "$mode" = install ] && [ -z "$batch" ] && [ -t 0 ]; then
        printf 'install %s at %s? [Y/n] ' "$name" "$prefix" >&2
        read -r answer
        case $answer in '' | [Yy]*) ;; *) say "nothing was done"; return ;; esac
    fi
    run_engine "$@" --prefix "$prefix"
}

self=$0
main "$@"
exit
