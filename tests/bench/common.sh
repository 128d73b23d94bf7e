# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the caller's variables
#
# What bench and bench-insn share: where things are, what is installed, the run of guest.sh on the machine.
# The caller declares
#   name                  its own, set by it
#   srcdir, builddir      of the project, both absolute
#   work                  a directory that is removed in the end
#   notes                 what is left out and why
# and set_up sets the others.

machine=''              # the process id of tests/vm/run

say() { echo "$name: $*" >&2; }
usage() { sed -n '/^# tests\/bench/,/^[^#]/{s/^# \{0,1\}//;/^set /d;p;}' "$0"; }

note() {
    say "$*"
    notes+=("$*")
}

installed() {           # program, Debian package, what there is not without it: remembers it if missing
    command -v "$1" >/dev/null && return
    note "$1 is not installed (package $2): $3"
    return 1
}

version_of() {          # Debian package
    dpkg-query -W -f '${Version}' "$1" 2>/dev/null || echo '(version unknown)'
}

# shellcheck disable=SC2317 # a trap calls it
clean_up() {
    trap - EXIT INT TERM HUP
    if [[ $machine ]]; then
        kill "$machine" 2>/dev/null
        wait "$machine"
    fi
    rm -rf "$work"
}

# Sets also stream (the program, not libtool's wrapper, which takes long to start and is
# nothing for valgrind) and libraries (where its library is).
set_up() {
    local here
    PATH=$PATH:/usr/sbin:/sbin
    here=$(cd -- "$(dirname -- "$0")" && pwd -P) || exit 1
    srcdir=$(cd -- "${top_srcdir:-$here/../..}" && pwd -P) || exit 1
    builddir=$(cd -- "${top_builddir:-.}" && pwd -P) || exit 1
    libraries=$builddir/lib/.libs
    stream=$builddir/examples/rsk-stream
    [[ -x $stream ]] || { say "$stream is not there: run make, then this from the build directory"; exit 1; }
    [[ $(head -c 2 "$stream") != '#!' ]] || stream=$builddir/examples/.libs/rsk-stream
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    work=$(mktemp -d "${TMPDIR:-/tmp}/rsk-bench.XXXXXX") || exit 1
}

# Runs guest.sh there; what it prints goes to $work/records.
on_machine() {          # seconds, options of tests/vm/run..., --, arguments of guest.sh...
    local options=() seconds=$1 status=0
    shift
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    "$srcdir/tests/vm/run" --timeout "$seconds" "${options[@]}" -- \
        bash "$srcdir/tests/bench/guest.sh" "$stream" "$libraries" "$@" >"$work/records" &
    machine=$!
    wait "$machine" || status=$?
    machine=''
    [[ $status != 77 ]] || exit 77
    return "$status"
}

# Variables of the environment change what is measured; tests/vm/run passes those of the library on.
tuned() {
    local variable
    for variable in $(compgen -e RSK_); do echo "$variable=${!variable}"; done
}
