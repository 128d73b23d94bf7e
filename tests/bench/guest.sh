#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#
# guest.sh STREAM LIBRARIES WHAT ARG... - the part of bench and bench-insn that runs on the test machine
#
# WHAT and what it prints, one record a line ("fail" in place of a number when a program failed):
#   time ROUNDS DIVISOR PROGRAMS     ROUND TEST MODE SIZE PROGRAM MICROSECONDS
#   idle PROGRAM BINARY MANY         memory|descriptors PROGRAM NUMBER, both per end of a connection
#   insn SIZES PROGRAMS              TEST SIZE PROGRAM MICROSECONDS
#   callgrind DIRECTORY PROGRAMS     nothing: leaves DIRECTORY/PROGRAM-TEST-TRANSFERS
# Several WHATs are separated by "+". PROGRAMS is a list like "rsk upstream tcp verbs".
# shellcheck disable=SC2317 # functions are called by name: conditions, and what fills in a pair
set -uo pipefail

stream=$1 libraries=$2
shift 2
limit=60                # seconds that one pair of programs may take
port=20000              # each pair of programs has its own
work=$(mktemp -d)
failed=0
server=() client=()     # the pair of programs to run
transport=rdma          # or tcp: what they speak
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

say() { echo "$*" >&2; }

listening() {
    if [[ $transport == tcp ]]; then
        grep -q "$(printf ':%04X 00000000:0000 0A' "$port")" /proc/net/tcp
    else
        [[ $(rdma resource show cm_id) == *":$port "* ]]
    fi
}

alive() { kill -0 "$1" 2>/dev/null; }

# Until a condition holds, while a process lives, within the limit.
await() {               # process, condition...
    local i pid=$1
    shift
    for ((i = 0; i < limit * 20; i++)); do
        "$@" && return
        alive "$pid" || return
        sleep 0.05
    done
    return 1
}

gone() { ! alive "$1"; }

# Programs of upstream's may go on for ever when the other end fails, some printing all the time.
bounded() {             # command...
    ulimit -f 16384
    exec timeout -k 2 "$limit" "$@"
}

# Once. What they print is left in $work/{server,client,errors}.
try_pair() {
    local pid status=0
    : >"$work/errors"
    (bounded "${server[@]}") >"$work/server" 2>&1 &
    pid=$!
    if await "$pid" listening; then
        (bounded "${client[@]}") >"$work/client" 2>"$work/errors" || status=$?
        [[ $status != 0 ]] || await "$pid" gone "$pid"
    else
        status=1
    fi
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    return "$status"
}

# A client may be refused, or upstream's crash, and then server and client are started again.
run_pair() {            # what it is, for the message; a function that fills server and client, its arguments...
    local i status=0 what=$1
    shift
    for i in 1 2 3; do
        port=$((port + 1))
        "$@"
        try_pair && return
        status=$?
        say "$what: ${client[0]##*/} failed, run $i, with status $status:" \
            "$(cat "$work/errors" "$work/server" | head -n 1 | cut -c 1-200)"
    done
    failed=1
    return 1
}

# ---- the programs ----

stream_pair() {         # program, test, mode, transfers, size
    local command both=(-p "$port" -S "$5")
    transport=rdma
    case $1 in
    upstream) command=rstream ;;
    *) command=$stream ;;
    esac
    [[ $1 != tcp ]] || { transport=tcp; both+=(-T s); }
    [[ $3 != sleeping ]] || both+=(-T b)
    case $2 in
    latency) both+=(-I "$4" -C 1) ;;
    *) both+=(-I 1 -C "$4") ;;
    esac
    server=("$command" "${both[@]}")
    client=("$command" "${both[@]}" -s "$RSK_TEST_ADDR")
}

verbs_pair() {          # test, transfers, size
    local program=ib_write_lat transfers=$2
    transport=rdma
    [[ $1 == latency ]] || { program=ib_write_bw; transfers=$((2 * $2)); }     # the others transfer both ways
    server=("$program" -R -F -p "$port" -n "$transfers" -s "$3")
    client=("${server[@]}" "$RSK_TEST_ADDR")
}

no_figure() { say "no figure in what it printed: $(tail -n 1 "$work/client" | cut -c 1-200)"; return 1; }

stream_result() { awk '$1 == "custom" { print $NF; ok = 1 } END { exit !ok }' "$work/client" || no_figure; }

# perftest rounds: its rate of messages is too coarse when they are large, its bandwidth when they are small.
verbs_result() {        # test, size
    awk -v test="$1" -v size="$2" '
        $1 == size && $3 + 0 > 0 {
            us = test == "latency" ? $6 : size < 4096 ? 1 / $5 : size / 1.048576 / $4
            printf("%.2f\n", us)
            ok = 1
        }
        END { exit !ok }' "$work/client" || no_figure
}

measure() {             # program, test, mode, transfers, size: sets us to microseconds or "fail"
    us=
    if [[ $1 == verbs ]]; then
        run_pair "$1, $2, $5 bytes" verbs_pair "$2" "$4" "$5" && us=$(verbs_result "$2" "$5")
    else
        run_pair "$1, $2, $3, $5 bytes" stream_pair "$@" && us=$(stream_result)
    fi && return
    us=fail failed=1
}

# ---- what to do with them ----

# So many that a measurement takes half a second: of a dozen large transfers the
# figures of one library scattered by a tenth.
transfers_of() {        # size, program
    local n
    case $1 in
    64) n=10000 ;;
    4096) n=2500 ;;
    65536) n=200 ;;
    *) n=40 ;;
    esac
    [[ $2 != tcp || $1 -le 4096 ]] || n=$((n * 3))
    n=$((n / divisor))
    echo $((n < 5 ? 5 : n))
}

# The programs take turns, and every other round in the opposite order: what else the host does hits all alike.
do_time() {             # rounds, divisor, programs
    local mode order=() programs=() program reversed=() round rounds=$1 size test
    divisor=$2
    read -ra programs <<<"$3"
    for program in "${programs[@]}"; do reversed=("$program" "${reversed[@]}"); done
    for ((round = 1; round <= rounds; round++)); do
        say "round $round of $rounds"
        order=("${programs[@]}")
        [[ $((round % 2)) == 1 ]] || order=("${reversed[@]}")
        for test in latency bandwidth; do for mode in spinning sleeping; do for size in 64 4096 65536 1048576; do
            for program in "${order[@]}"; do
                [[ $program != verbs || $mode == spinning ]] || continue   # ib_write_lat can only spin
                measure "$program" "$test" "$mode" "$(transfers_of "$size" "$program")" "$size"
                echo "$round $test $mode $size $program $us"
            done
        done; done; done
    done
}

is_ready() { grep -q ready "$work/idle"; }

# Sets memory and descriptors to what a process with so many connections to itself has.
count_idle() {          # binary, connections
    local pid
    : >"$work/idle"
    "$1" "$RSK_TEST_ADDR" "$2" >"$work/idle" 2>"$work/errors" &
    pid=$!
    await "$pid" is_ready
    if is_ready; then
        # All there is: nothing else runs, and a region names the thread that made it, if that still lives.
        memory=$(rdma resource show mr |
            awk '{ for (i = 1; i < NF; i++) if ($i == "mrlen") sum += $(i + 1) } END { print sum + 0 }')
        descriptors=$(find "/proc/$pid/fd" -mindepth 1 | wc -l)
    fi
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    is_ready
}

do_idle() {             # program, binary, connections
    local descriptors=0 descriptors_one ends=$((2 * ($3 - 1))) memory=0 memory_one
    if count_idle "$2" 1; then
        memory_one=$memory descriptors_one=$descriptors
        if count_idle "$2" "$3"; then
            echo "memory $1 $(((memory - memory_one) / ends))"
            awk -v d=$((descriptors - descriptors_one)) -v ends="$ends" -v program="$1" \
                'BEGIN { printf("descriptors %s %.1f\n", program, d / ends) }'
            return
        fi
    fi
    say "idle connections of $1: $(head -n 1 "$work/errors")"
    failed=1
    echo "memory $1 fail"
    echo "descriptors $1 fail"
}

# A clock that counts instructions runs ahead while none are executed: whenever the only thing to wait for is
# the host's disk, it jumps to the next timer, minutes in a moment. So time limits must be generous.
count_instructions() {
    limit=20000
    mkdir -p /etc/rdma/rsocket
    echo 0 >/etc/rdma/rsocket/polling_time
    export RSK_POLLING_TIME=0
}

# So many that what happens once (buffers that grow, their registration) does not matter.
do_insn() {             # sizes, programs
    local n program programs=() size sizes=() test
    count_instructions
    read -ra sizes <<<"$1"
    read -ra programs <<<"$2"
    for program in "${programs[@]}"; do measure "$program" latency sleeping 10 65536; done     # programs in memory
    for test in latency bandwidth; do for size in "${sizes[@]}"; do
        say "$test, $size bytes"
        case $size in
        64) n=5000 ;;
        4096) n=2000 ;;
        65536) n=400 ;;
        *) n=60 ;;
        esac
        for program in "${programs[@]}"; do
            measure "$program" "$test" sleeping "$n" "$size"
            echo "$test $size $program $us"
        done
    done; done
}

callgrind_pair() {      # output, arguments of stream_pair
    stream_pair "${@:2}"
    client=(valgrind --tool=callgrind --callgrind-out-file="$1" "${client[@]}")
}

do_callgrind() {        # directory, programs
    local n program programs=() test
    count_instructions
    read -ra programs <<<"$2"
    for test in latency bandwidth; do for program in "${programs[@]}"; do for n in 500 2500; do
        say "callgrind of $program, $test, $n transfers"
        run_pair "callgrind of $program" callgrind_pair "$1/$program-$test-$n" "$program" "$test" sleeping "$n" 64 ||
            rm -f "$1/$program-$test-$n"
    done; done; done
}

while [[ $# -gt 0 ]]; do
    words=()
    while [[ $# -gt 0 && $1 != + ]]; do
        words+=("$1")
        shift
    done
    [[ $# == 0 ]] || shift
    case ${words[0]} in
    time) do_time "${words[@]:1}" ;;
    idle) do_idle "${words[@]:1}" ;;
    insn) do_insn "${words[@]:1}" ;;
    callgrind) do_callgrind "${words[@]:1}" ;;
    esac
done
exit "$failed"
