#!/usr/bin/python3
"""Calls containerd's CRI by gRPC, as kubelet does: run CONFIG_JSON | stop ID | remove ID | ips ID
| network-ready. The messages are those of k8s.io/cri-api runtime/v1, encoded by field number, so
that neither generated code nor a compiler for it is needed."""
import json
import os
import sys

import grpc

METADATA = {"name": 1, "uid": 2, "namespace": 3, "attempt": 4}
PORT = {"protocol": 1, "container_port": 2, "host_port": 3, "host_ip": 4}
DNS = {"servers": 1, "searches": 2, "options": 3}
SANDBOX = {"metadata": (1, METADATA), "hostname": 2, "log_directory": 3, "dns_config": (4, DNS),
           "port_mappings": (5, PORT), "annotations": 7, "linux": (8, {"cgroup_parent": 1})}


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, value, schema):
    """One field; a list is a repeated field, an object without a schema a map of strings."""
    if isinstance(value, list):
        return b"".join(field(number, item, schema) for item in value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, dict) and schema is None:
        entries = ({"key": key, "value": item} for key, item in value.items())
        return b"".join(field(number, entry, {"key": 1, "value": 2}) for entry in entries)
    data = message(value, schema) if isinstance(value, dict) else value.encode()
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(values, schema):
    out = b""
    for name, value in values.items():
        number, inner = schema[name] if isinstance(schema[name], tuple) else (schema[name], None)
        out += field(number, value, inner)
    return out


def fields(data):
    """Field number -> list of values (int or bytes) of an encoded message."""
    found, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(data):
        key = number()
        value = number()
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        found.setdefault(key >> 3, []).append(value)
    return found


def call(method, request):
    with grpc.insecure_channel("unix://" + os.environ["CONTAINERD_SOCKET"]) as channel:
        return channel.unary_unary("/runtime.v1.RuntimeService/" + method)(request, timeout=20)


def ips(sandbox):
    reply = fields(call("PodSandboxStatus", field(1, sandbox, None)))
    network = fields(fields(reply[1][0])[5][0])
    yield network[1][0].decode()
    for more in network.get(2, []):
        yield fields(more)[1][0].decode()


def network_ready():
    status = fields(fields(call("Status", b""))[1][0])
    for condition in map(fields, status[1]):
        if condition[1][0] == b"NetworkReady" and condition.get(2) != [1]:
            sys.exit("not ready: " + condition.get(4, [b""])[0].decode())


def main(verb, argument=""):
    if verb == "run":
        config = field(1, json.loads(argument), SANDBOX)
        print(fields(call("RunPodSandbox", config))[1][0].decode())
    elif verb == "stop":
        call("StopPodSandbox", field(1, argument, None))
    elif verb == "remove":
        call("RemovePodSandbox", field(1, argument, None))
    elif verb == "ips":
        print(*ips(argument), sep="\n")
    elif verb == "network-ready":
        network_ready()
    else:
        sys.exit(__doc__)


try:
    main(*sys.argv[1:])
except grpc.RpcError as error:
    sys.exit(error.details())
