# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# Cases of tests/interop/run: rsk-stream and rstream.

stream_command() {      # 'rsk' or 'upstream', OPTION...: sets command
    local program=$1
    shift
    case $program in
    rsk) command=("$programs/rsk-stream" "${rsk_options[@]}" "$@") ;;
    upstream) command=(rstream "${upstream_options[@]}" "$@") ;;
    esac
}

start_stream_server() { # PROGRAM ADDRESS OPTION...: sets server
    local program=$1 address=$2 command
    shift 2
    next_port
    stream_command "$program" "$@" -b "$address" -p "$port"
    start server.log "${command[@]}"
    server=$pid
}

# Both ends must succeed and print so many results: rstream's status hides what fails in a series.
stream() {              # SERVER CLIENT ADDRESS RESULTS OPTION...
    local client=$2 address=$3 results=$4 command server end status=0
    start_stream_server "$1" "$address" "${@:5}"
    stream_command "$client" "${@:5}" -s "$address" -p "$port"
    run_client "$server" client.log "${command[@]}" || fail "the client's exit status is $?"
    wait "$server" || status=$?
    [[ $status -eq 0 ]] || fail "the server's exit status is $status"
    for end in server client; do
        [[ $(grep -cE '^(custom|[0-9]+[km]?_(lat|bw)) ' "$end.log") -eq $results ]] ||
            fail "the $end did not print $results results"
    done
}

# Transfers of each size, 1 MB each way at most but for the largest, and more than the buffers hold for most.
stream_sizes() {        # SERVER CLIENT ADDRESS 'SIZE...' OPTION...
    local size count
    for size in $4; do
        count=$((1000000 / size / 3))
        count=$((count < 2 ? 2 : count > 100 ? 100 : count))
        stream "$1" "$2" "$3" 1 -S "$size" -C "$count" -I 3 "${@:5}"
    done
}

all_sizes='1 63 64 65 1000 2047 2048 2049 4096 65535 65536 65537 131072 1048576'
some_sizes='1 64 2049 65537 1048576'

# ---- Queues and buffers that are not the default ----

rsk_with() {            # SERVER CLIENT OPTION...
    # shellcheck disable=SC2034 # stream_command uses it
    rsk_options=("${@:3}")
    stream_sizes "$1" "$2" "$RSK_TEST_ADDR" "$some_sizes" -T v
}

upstream_with() {       # SERVER CLIENT 'SETTING...' OPTION...
    local settings_wanted
    read -ra settings_wanted <<<"$3"
    upstream_settings "${settings_wanted[@]}"
    # shellcheck disable=SC2034 # stream_command uses it
    upstream_options=("${@:4}")
    stream_sizes "$1" "$2" "$RSK_TEST_ADDR" "$some_sizes" -T v
}

both_small() {          # SERVER CLIENT
    # shellcheck disable=SC2034 # stream_command uses it
    rsk_options=(--sq 16 --rq 16 -B 4096 --inline 0)
    upstream_with "$1" "$2" 'sqsize_default=16 rqsize_default=16' -B 4096
}

# ---- A peer that is not there ----

# What would take days is under way when rstream is killed: rsk-stream must end, and say why.
peer_is_killed() {      # SERVER CLIENT OPTION...
    local command server client rsk upstream status=0
    export RSK_LOG=debug # tells when it is connected
    start_stream_server "$1" "$RSK_TEST_ADDR" "${@:3}"
    stream_command "$2" "${@:3}" -s "$RSK_TEST_ADDR" -p "$port"
    client=''
    [[ $1 == rsk ]] && log=server.log || log=client.log
    until grep -q -e '-> connected' "$log"; do
        lives "$server" || fail 'the server ended early'
        if [[ ! $client ]] || ! lives "$client"; then # refused
            start client.log "${command[@]}"
            client=$pid
        fi
        sleep 0.1
    done
    sleep 0.3
    if [[ $1 == rsk ]]; then rsk=$server upstream=$client; else rsk=$client upstream=$server; fi
    lives "$rsk" && lives "$upstream" || fail 'an end ended early'
    kill -KILL "$upstream"
    wait "$rsk" || status=$?
    [[ $status -eq 1 ]] || fail "rsk-stream's exit status is $status"
    grep -q "^rsk-stream: .*$RSK_TEST_ADDR" "$log" || fail 'rsk-stream did not tell what happened'
}

rsk_is_refused() {      # ADDRESS TEXT_OF_ADDRESS
    local status=0
    next_port
    start client.log "$programs/rsk-stream" -s "$1" -p "$port"
    wait "$pid" || status=$?
    [[ $status -eq 1 ]] || fail "the exit status is $status"
    grep -qF "$2:$port" client.log || fail "no message names $2:$port"
}

# A server of rsk's was there, served somebody and is gone.
upstream_is_refused() { # ADDRESS
    local status=0
    stream rsk rsk "$1" 1 -S 1000 -C 10
    start client.log rstream -s "$1" -p "$port" -S 1000 -C 10
    wait "$pid" || status=$?
    [[ $status -ne 0 ]] || fail 'rstream connected to a closed port'
    grep -q 'Connection refused' client.log || fail 'rstream was not refused'
}

# ---- All cases ----

stream_cases_of_a_pair() { # TITLE SERVER CLIENT
    local title=$1 ends=("$2" "$3") mode letters options version address
    for mode in '' 'a' 'b' 'n' 'v' 'b v'; do
        letters=${mode// } options=()
        for letter in $mode; do
            options+=(-T "$letter")
        done
        check "$title-${letters:-default}" 90 \
            stream_sizes "${ends[@]}" "$RSK_TEST_ADDR" "$all_sizes" "${options[@]}"
        check "$title-${letters:-default}-ipv6" 90 \
            over_ipv6 stream_sizes "${ends[@]}" '' "$some_sizes" "${options[@]}"
    done
    check "$title-series" 120 stream "${ends[@]}" "$RSK_TEST_ADDR" 8
}
