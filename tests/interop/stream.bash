# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# Cases of tests/interop/run: rsk-stream and rstream, rsk-iostream and riostream. A program is 'rsk' or
# 'upstream'.
# shellcheck disable=SC2034,SC2154 # variables are set there and for there

rsk_program=rsk-stream upstream_program=rstream

directly() {            # FUNCTION...: with the programs that write to each other's memory
    rsk_program=rsk-iostream upstream_program=riostream
    "$@"
}

stream_command() {      # PROGRAM OPTION...: sets command
    case $1 in
    rsk) command=("$programs/$rsk_program" "${rsk_options[@]}" "${@:2}") ;;
    upstream) command=("$upstream_program" "${upstream_options[@]}" "${@:2}") ;;
    esac
}

start_stream_server() { # PROGRAM OPTION...: sets server
    local command
    next_port
    stream_command "$@" -b "$address" -p "$port"
    start server.log "${command[@]}"
    server=$pid
}

# Options for one of the programs only.
rsk_options=() upstream_options=()

# Three faults of rstream's show by chance, whoever is at the other end. They end stream_once with this status.
bad_luck=2

# Both ends must succeed and print all results: the exit status of rstream hides what fails in a series.
stream_once() {         # SERVER CLIENT RESULTS OPTION...
    local results=$3 command server end status=0
    start_stream_server "$1" "${@:4}"
    stream_command "$2" "${@:4}" -s "$address" -p "$port"
    run_client "$server" client.log "${command[@]}" || status=$?
    # With -T a, it takes an end of the stream that comes with the last bytes for a failure, POLLHUP.
    if [[ $2 == upstream && $status -eq 16 ]]; then
        status=$bad_luck
    elif [[ $status -ne 0 ]] && was_interrupted "$1" client.log; then
        kill "$server"
        return "$bad_luck"
    elif [[ $status -ne 0 ]]; then
        fail "the client's exit status is $status"
    fi
    # At the end, it waits until its last message was acknowledged, and a peer that has gone acknowledges nothing:
    # Soft-RoCE repeats without end.
    if [[ $1 == upstream ]] && ! ends_within 20 "$server"; then
        kill "$server"
        return "$bad_luck"
    fi
    wait "$server" || fail "the server's exit status is $?"
    [[ $status -eq 0 ]] || return "$status"
    for end in server client; do
        [[ $(grep -cE '^(custom|[0-9.]+[km]?_(lat|bw)) ' "$end.log") -eq $results ]] ||
            fail "the $end did not print $results results"
    done
}

stream() {              # SERVER CLIENT RESULTS OPTION...
    local tries
    for ((tries = 1; tries <= 20; tries++)); do
        stream_once "$@" && return
        note "rstream did not end as it should (server $1, client $2, ${*:4}); again"
    done
    fail "rstream never ended as it should"
}

# What the programs do when no size is given; the second half of it without inline sends.
series() {              # SERVER CLIENT
    [[ ! $iwarp ]] || upstream_settings inline_default=0
    stream "$@" 8
}

# Small sizes are often repeated, to use up all credits; large ones are more than the buffers hold.
stream_sizes() {        # SERVER CLIENT 'SIZE...' OPTION...
    local size count
    for size in $3; do
        count=$((300000 / size))
        count=$((count < 1 ? 1 : count > 100 ? 100 : count))
        stream "$1" "$2" 1 -S "$size" -C "$count" -I 3 "${@:4}"
    done
}

# ---- Queues and buffers that are not the default ----

with_rsk() {            # 'OPTION...' FUNCTION...
    read -ra rsk_options <<<"$1"
    "${@:2}"
}

with_upstream() {       # 'OPTION...' 'SETTING...' FUNCTION...
    local wanted
    read -ra upstream_options <<<"$1"
    read -ra wanted <<<"$2"
    upstream_settings "${wanted[@]}"
    "${@:3}"
}

# rstream posts a receive for each credit, none for control messages. With 16 it may have none left: then RoCE
# repeats the message, and iWARP ends the connection.
with_few_entries() {    # SETTINGS FUNCTION...
    [[ ! $iwarp ]] || skip 'with 16 receives rstream has none for control messages, and iWARP ends the connection'
    with_upstream '' "$@"
}

# ---- A peer that is not there ----

# What would take days is under way when rstream is killed: rsk-stream must end, and say why.
peer_is_killed() {      # SERVER CLIENT OPTION...
    local command server client='' log=client.log killed status=0
    [[ $1 == rsk ]] && log=server.log
    export RSK_LOG=debug # then it tells that it is connected
    start_stream_server "$1" "${@:3}"
    stream_command "$2" "${@:3}" -s "$address" -p "$port"
    until grep -q -e '-> connected' "$log"; do
        lives "$server" || fail 'the server ended early'
        if [[ ! $client ]] || ! lives "$client"; then # it was refused
            start client.log "${command[@]}"
            client=$pid
        fi
        sleep 0.1
    done
    sleep 0.3
    if [[ $1 == rsk ]]; then
        killed=$client pid=$server
    else
        killed=$server pid=$client
    fi
    if ! lives "$killed" || ! lives "$pid"; then
        fail 'an end was gone before rstream was killed'
    fi
    kill -KILL "$killed"
    wait "$pid" || status=$?
    [[ $status -eq 1 ]] || fail "the exit status of rsk-stream is $status"
    # A server names its own address in any case.
    grep -v 'waiting on' "$log" | grep -q "^$rsk_program: .*$address" || fail "$rsk_program did not say what happened"
}

rsk_is_refused() {
    local status=0
    next_port
    start client.log "$programs/rsk-stream" -s "$address" -p "$port"
    wait "$pid" || status=$?
    [[ $status -eq 1 ]] || fail "the exit status is $status"
    grep -F "$address" client.log | grep -q "$port" || fail "no message names $address and $port"
}

# A server of rsk's was there, served somebody and is gone.
upstream_is_refused() {
    stream rsk rsk 1 -S 1000 -C 10
    start client.log rstream -s "$address" -p "$port" -S 1000 -C 10
    wait "$pid" && [[ ! $iwarp ]] && fail 'rstream connected to a closed port'
    # Over iWARP its rpoll may find the connect decided and fail, and its exit status may be any.
    grep -qE "Connection refused${iwarp:+|^rpoll: Transport endpoint is not connected}" client.log ||
        fail 'rstream was not refused'
}

# ---- All cases ----

stream_pair_cases() {   # TITLE SERVER CLIENT
    local title=$1 ends=("$2" "$3") mode name options letter
    local all='1 63 64 65 1000 2047 2048 2049 4096 65535 65536 65537 131072 1048576' some='64 2049 65537 1048576' sizes
    for mode in default a b n v 'b v'; do
        sizes=$all
        [[ $mode == n ]] && sizes=$some # rstream does the same without it
        name=stream-$title-${mode// } options=()
        for letter in ${mode#default}; do
            options+=(-T "$letter")
        done
        check "$name" 600 stream_sizes "${ends[@]}" "$sizes" "${options[@]}"
        [[ $mode == [bn] ]] ||
            check "$name-ipv6" 300 over_ipv6 stream_sizes "${ends[@]}" '1 2049 65537' "${options[@]}"
    done
    check "stream-$title-series" 1200 series "${ends[@]}"

    local sized=(stream_sizes "${ends[@]}" "$some" -T v) small='sqsize_default=16 rqsize_default=16'
    local large='sqsize_default=2048 rqsize_default=2048'
    if [[ ! $control ]]; then
        check "stream-$title-rsk-16-entries" 300 with_rsk '--sq 16 --rq 16' "${sized[@]}"
        check "stream-$title-rsk-2048-entries" 300 with_rsk '--sq 2048 --rq 2048' "${sized[@]}"
        check "stream-$title-rsk-4096-bytes" 300 with_rsk '-B 4096' "${sized[@]}"
        check "stream-$title-rsk-4-mb" 300 with_rsk '-B 4194304' "${sized[@]}"
        check "stream-$title-rsk-not-inline" 300 with_rsk '--inline 0' "${sized[@]}"
        check "stream-$title-rsk-256-inline" 300 with_rsk '--inline 256' "${sized[@]}"
        check "stream-$title-both-small" 300 with_rsk '--sq 16 --rq 16 -B 4096 --inline 0' \
            with_upstream '-B 4096' "$small inline_default=0" "${sized[@]}"
    fi
    check "stream-$title-upstream-16-entries" 300 with_few_entries "$small" "${sized[@]}"
    check "stream-$title-upstream-2048-entries" 300 with_upstream '' "$large" "${sized[@]}"
    check "stream-$title-upstream-4096-bytes" 300 with_upstream '-B 4096' '' "${sized[@]}"
    check "stream-$title-upstream-4-mb" 300 with_upstream '-B 4194304' '' "${sized[@]}"
    check "stream-$title-upstream-not-inline" 300 with_upstream '' inline_default=0 "${sized[@]}"
    check "stream-$title-upstream-256-inline" 300 with_upstream '' inline_default=256 "${sized[@]}"
}

# Of less than 16 bytes riostream has too small a buffer for its own first message.
iostream_pair_cases() { # TITLE SERVER CLIENT
    local title=$1 ends=("$2" "$3") mode name options letter
    local sizes='16 63 64 65 1000 2048 2049 65535 65536 65537 1048576' some='64 2049 65537 1048576'
    local small='sqsize_default=16 rqsize_default=16 inline_default=0'
    for mode in default a b n v 'b v'; do
        name=iostream-$title-${mode// } options=()
        for letter in ${mode#default}; do
            options+=(-T "$letter")
        done
        check "$name" 600 directly stream_sizes "${ends[@]}" "$sizes" "${options[@]}"
    done
    check "iostream-$title-ipv6" 300 over_ipv6 directly stream_sizes "${ends[@]}" "$some" -T v
    check "iostream-$title-series" 1200 directly series "${ends[@]}"
    [[ $control ]] ||
        check "iostream-$title-rsk-not-inline" 300 with_rsk '--sq 16 --rq 16 --inline 0' \
            directly stream_sizes "${ends[@]}" "$some" -T v
    check "iostream-$title-upstream-small" 300 with_upstream '' "$small" \
        directly stream_sizes "${ends[@]}" "$some" -T v
}

iostream_cases() {
    if [[ $control ]]; then
        iostream_pair_cases control upstream upstream
        return
    fi
    iostream_pair_cases to-rsk rsk upstream
    iostream_pair_cases from-rsk upstream rsk
    check iostream-rsk-verify 300 directly stream_sizes rsk rsk '1 2 64 2049 65537 1048576' --verify
    check iostream-rsk-every-size 3600 directly stream rsk rsk 66 -S all
    check iostream-killed-client 300 directly peer_is_killed rsk upstream -C 100000000
    check iostream-killed-server 300 directly peer_is_killed upstream rsk -C 1 -I 100000000
}

stream_cases() {
    local sizes='1 64 2049 65536 65537 1048576'
    if [[ $control ]]; then
        stream_pair_cases control upstream upstream
        return
    fi
    stream_pair_cases to-rsk rsk upstream
    stream_pair_cases from-rsk upstream rsk
    check stream-rsk-verify 300 stream_sizes rsk rsk "$sizes" --verify
    check stream-rsk-verify-b 300 stream_sizes rsk rsk "$sizes" --verify -T b
    check stream-rsk-verify-a-ipv6 300 over_ipv6 stream_sizes rsk rsk "$sizes" --verify -T a

    check stream-killed-client 300 peer_is_killed rsk upstream -C 100000000
    check stream-killed-client-b 300 peer_is_killed rsk upstream -C 100000000 -T b
    check stream-killed-client-a-by-turns 300 peer_is_killed rsk upstream -C 1 -I 100000000 -T a
    check stream-killed-server 300 peer_is_killed upstream rsk -C 100000000
    check stream-killed-server-b 300 peer_is_killed upstream rsk -C 100000000 -T b
    check stream-killed-server-a-by-turns 300 peer_is_killed upstream rsk -C 1 -I 100000000 -T a

    check stream-refused-rsk 300 rsk_is_refused
    check stream-refused-rsk-ipv6 300 over_ipv6 rsk_is_refused
    check stream-refused-upstream 300 upstream_is_refused
    check stream-refused-upstream-ipv6 300 over_ipv6 upstream_is_refused
}
