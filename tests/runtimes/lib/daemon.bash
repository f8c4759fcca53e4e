# shellcheck shell=bash
# Offramp's daemon on the sandbox's node, for the same pod networks as the inline configuration.

export DAEMON=/opt/offrampd DAEMON_SOCKET=/run/offramp/offrampd.sock

# daemon_start: answers once it serves plugins; its pid is in /run/offrampd.pid.
daemon_start() {
    cat >/run/offrampd.yaml <<CONF
node: {name: node, uplink: uplink, addresses: [$NODE4, "$NODE6"]}
cluster:
  source: standalone
  podCIDRs: [$POD4, "$POD6"]
bridge: {name: $BRIDGE}
overlay: {mode: none}
CONF
    "$DAEMON" run --check --config /run/offrampd.yaml
    "$DAEMON" run --config /run/offrampd.yaml >>"$LOG" 2>&1 &
    echo $! >/run/offrampd.pid
    within 10 test -S "$DAEMON_SOCKET"
    within 10 "$DAEMON" status --socket "$DAEMON_SOCKET"
}

daemon_stop() {
    kill "$(cat /run/offrampd.pid)"
    within 10 process_ended "$(cat /run/offrampd.pid)"
}
