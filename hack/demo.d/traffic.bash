# shellcheck shell=bash
# Real traffic, and what can be told of it.

# pod_serves POD: each pod answers its name and the caller's address on port 80, and iperf3.
pod_serves() {
    answers_its_name "$1"
    in_pod "$1" iperf3 --server </dev/null >>"$WORK/iperf3.log" 2>&1 &
    within 5 listens "$1" 5201
}

# answers_its_name POD
answers_its_name() {
    local name=$1 family
    for family in 4 6; do
        in_pod "$name" socat "TCP$family-LISTEN:80,fork,reuseaddr$([[ $family == 4 ]] || echo ,ipv6only)" \
            "SYSTEM:echo $name \$SOCAT_PEERADDR" </dev/null >>"$WORK/socat.log" 2>&1 &
    done
    within 5 listens "$name" 80 2
}

# listens POD PORT [SOCKETS]
listens() { (($(in_pod "$1" ss -Hltn "sport = :$2" | wc -l) == ${3:-1})); }

# pings FROM ADDRESS: no packet may be lost, the first neither.
pings() {
    local out
    out=$(in_pod "$1" ping -c 3 -i 0.02 -W "$((2 * ${PATIENCE:-1}))" "$2") || fail "$out"
    grep -q ' 0% packet loss' <<<"$out" || fail "$out"
    echo "ping $2: $(sed -n 's|.* = [0-9.]*/\([0-9.]*\)/.*|\1 ms|p' <<<"$out")"
}

# pings_full FROM ADDRESS: the largest packet that the pod may send arrives whole.
pings_full() {
    local mtu header=28 out
    [[ $2 != *:* ]] || header=48
    mtu=$(in_pod "$1" ip -j link show eth0 | jq '.[0].mtu')
    out=$(in_pod "$1" ping -c 2 -i 0.02 -W 2 -M 'do' -s $((mtu - header)) "$2") || fail "$out"
    echo "$mtu bytes, unfragmented"
}

# fetch FROM HOST [PORT]: one line by TCP.
fetch() {
    local host=$2
    [[ $host != *:* ]] || host="[$host]"
    local patience=$((2 * ${PATIENCE:-1}))
    in_pod "$1" timeout "$((patience + 1))" socat -u "TCP:$host:${3:-80},connect-timeout=$patience" - || fail "no answer from $host:${3:-80}"
}

# seen_as FROM HOST PORT NAME [ADDRESS]: NAME answers, and saw ADDRESS as the sender.
seen_as() {
    local from=$1 host=$2 port=$3 name=$4 expected=${5:-} answer who sender
    answer=$(fetch "$from" "$host" "$port") || fail "$answer"
    read -r who sender <<<"$answer"
    sender=$(usual_form "$sender")
    [[ $who == "$name" ]] || fail "$who answered instead of $name"
    [[ ${expected:-$sender} == "$sender" ]] || fail "$name saw $sender, not $expected"
    echo "$name saw $sender"
}

# socat writes IPv6 addresses in full and in brackets.
usual_form() {
    local address=${1#[}
    getent ahosts "${address%]}" | awk 'NR == 1 { print $1 }'
}

# rate FROM ADDRESS [OPTION...]: kbit/s that arrived in a second of TCP.
rate() {
    local out
    out=$(in_pod "$1" iperf3 --client "$2" --json --connect-timeout 2000 --time 1 "${@:3}") ||
        fail "iperf3: $(jq -r '.error // .' <<<"$out")"
    jq '.end.sum_received.bits_per_second / 1e3 | floor' <<<"$out"
}

tcp() {
    local kbits
    kbits=$(rate "$@") || fail "$kbits"
    ((kbits > 0)) || fail "nothing arrived"
    echo "iperf3: $(decimal "$((kbits / 1000))") Gbit/s"
}

# decimal THOUSANDTHS: with one decimal.
decimal() { printf '%d.%d' $(($1 / 1000)) $(($1 % 1000 / 100)); }

# tunnelled NODE: packets that its VXLAN device has sent.
tunnelled() { on "$1" ip -j -s link show offramp-vxlan | jq '.[0].stats64.tx.packets'; }
