# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# shellcheck shell=bash
#
# Cases of tests/interop/run: rsk-copy and rcopy. Files are sent from sent/ and arrive in got/.
# shellcheck disable=SC2034,SC2154 # variables are set there and for there

# rcopy knows no addresses of IPv6, as ':' is before the file, and listens on one family only, where
# getaddrinfo's first answer is one of IPv4. Names and rules for getaddrinfo make up for it, for this case alone:
# over siw no IPv4 comes to who listens on any address of IPv6.
rcopy_over_ipv6() {
    [[ ${RSK_VM-} ]] || skip "would change this machine's /etc/hosts and /etc/gai.conf"
    trap 'end_case; rm -f /etc/gai.conf' EXIT
    echo "$address interop6" >>/etc/hosts
    printf '%s\n' 'label ::/0 1' 'precedence ::/0 40' 'precedence ::ffff:0:0/96 10' >/etc/gai.conf
}

start_copy_server() {   # PROGRAM OPTION...: sets server
    local command
    next_port
    [[ $address == *:* ]] && rcopy_over_ipv6
    mkdir -p got
    case $1 in
    rsk) command=("$programs/rsk-copy" -d "$dir/got" -b "$address") ;;
    upstream) command=(rcopy) ;; # a file goes where the client says
    esac
    start server.log "${command[@]}" -p "$port" "${@:2}"
    server=$pid
}

copy_command() {        # PROGRAM FILE: sets command
    local host=$address
    case $1 in
    rsk)
        [[ $host == *:* ]] && host="[$host]"
        command=("$programs/rsk-copy") ;;
    upstream)
        [[ $host == *:* ]] && host=interop6
        command=(rcopy) ;;
    esac
    command+=("$dir/sent/$2" "$host:$dir/got/$2" -p "$port")
}

make_file() {           # BYTES: the name of the file, too
    mkdir -p sent
    head -c "$1" /dev/urandom >"sent/$1"
}

sum() { sha256sum <"$1" | cut -d ' ' -f 1; }

stop_server() {         # what it got stays, and no parts
    kill "$server"
    wait "$server"
}

copy_files() {          # SERVER CLIENT BYTES...: one after the other, to the same server
    local client=$2 file files=("${@:3}") command wanted status
    file_kilobytes=65536
    start_copy_server "$1"
    for file in "${files[@]}"; do
        make_file "$file"
        copy_command "$client" "$file"
        until run_client "$server" "client-$file.log" "${command[@]}"; do
            status=$?
            was_interrupted "$1" "client-$file.log" || fail "$file bytes: the client's exit status is $status"
            note "rcopy's server spoke too early ($file bytes); again"
            stop_server
            start_copy_server "$1"
            copy_command "$client" "$file"
        done
    done
    stop_server
    for file in "${files[@]}"; do
        wanted=$(sum "sent/$file")
        [[ $(sum "got/$file") == "$wanted" ]] || fail "$file bytes: not what was sent"
        [[ $control ]] || grep -qE "(^|/)$file: .* sha256 $wanted\$" ./*.log ||
            fail "$file bytes: rsk-copy did not print the right SHA-256"
    done
    files=(got/*)
    [[ ${#files[@]} -eq $(($# - 2)) ]] || fail "files that were not sent: $(ls got)"
}

with_settings() {       # 'SETTING...' FUNCTION...
    local wanted
    read -ra wanted <<<"$1"
    upstream_settings "${wanted[@]}"
    "${@:2}"
}

# rcopy connects and then cannot send an empty file. That is no harm to the server and no file there.
rcopy_gives_up() {
    local command
    start_copy_server rsk
    make_file 0
    copy_command upstream 0
    run_client "$server" client.log "${command[@]}"
    make_file 100
    copy_command upstream 100
    run_client "$server" client.log "${command[@]}" || fail "the next client's exit status is $?"
    stop_server
    [[ $(ls got) == 100 ]] || fail "the server has these files: $(ls got)"
}

# ---- A peer that is not there ----

make_large_file() {
    mkdir -p sent
    truncate -s 256M sent/large
    file_kilobytes=300000
}

client_is_killed() {
    local command client status=0
    make_large_file
    start_copy_server rsk --once
    copy_command upstream large
    until [[ -s got/large.part ]]; do
        lives "$server" || fail 'the server ended early'
        if [[ ! ${client-} ]] || ! lives "$client"; then # it was refused
            start client.log "${command[@]}"
            client=$pid
        fi
        sleep 0.05
    done
    lives "$client" || skip 'the transfer was over before the client was killed'
    kill -KILL "$client"
    wait "$server" || status=$?
    [[ $status -eq 1 ]] || fail "the exit status of rsk-copy is $status"
    [[ ! $(ls got) ]] || fail "rsk-copy left these files: $(ls got)"
}

server_is_killed() {
    local command client status=0
    make_large_file
    start_copy_server upstream
    copy_command rsk large
    until [[ -s got/large ]]; do
        lives "$server" || fail 'the server ended early'
        if [[ ! ${client-} ]] || ! lives "$client"; then # it was refused
            start client.log "${command[@]}"
            client=$pid
        fi
        sleep 0.05
    done
    lives "$client" || skip 'the transfer was over before the server was killed'
    kill -KILL "$server"
    wait "$client" || status=$?
    [[ $status -eq 1 ]] || fail "the exit status of rsk-copy is $status"
    grep -q "^rsk-copy: .*$address" client.log || fail 'rsk-copy did not say what happened'
}

copy_is_refused() {     # PROGRAM STATUS
    local command status=0
    next_port
    make_file 100
    copy_command "$1" 100
    start client.log "${command[@]}"
    wait "$pid" || status=$?
    [[ $status -eq $2 ]] || fail "the exit status is $status"
    grep -F "$address" client.log | grep -q "$port" || fail "no message names $address and $port"
}

# ---- All cases ----

copy_pair_cases() {     # TITLE SERVER CLIENT SIZE...
    local ends=("$2" "$3") sizes=("${@:4}")
    local small='sqsize_default=16 rqsize_default=16 mem_default=4096 wmem_default=4096 inline_default=0'
    check "copy-$1" 300 copy_files "${ends[@]}" "${sizes[@]}" 16777216
    check "copy-$1-ipv6" 300 over_ipv6 copy_files "${ends[@]}" "${sizes[@]}"
    check "copy-$1-upstream-small" 300 with_settings "$small" copy_files "${ends[@]}" "${sizes[@]}"
}

copy_cases() {
    local sizes=(1 4095 65536 1048577)
    if [[ $control ]]; then
        copy_pair_cases control upstream upstream "${sizes[@]}"
        return
    fi
    copy_pair_cases to-rsk rsk upstream "${sizes[@]}"
    check copy-to-rsk-empty 300 rcopy_gives_up
    copy_pair_cases from-rsk upstream rsk 0 "${sizes[@]}"
    check copy-rsk 300 copy_files rsk rsk 0 "${sizes[@]}"
    check copy-killed-client 300 client_is_killed
    check copy-killed-server 300 server_is_killed
    check copy-refused-rsk 300 copy_is_refused rsk 1
}
