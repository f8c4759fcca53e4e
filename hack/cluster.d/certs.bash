# shellcheck shell=bash disable=SC2154 # sourced by inside.bash
# Who is who in the cluster: an authority, certificates that it signed, and files by which clients find the API server.

pki=$WORK/pki

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$pki/$1.key"; }

make_authority() {
    mkdir -p "$pki"
    key ca
    openssl req -x509 -new -key "$pki/ca.key" -subj /CN=cluster -days 2 -out "$pki/ca.crt"
    key accounts # signs tokens of service accounts
}

# certificate NAME SUBJECT [ADDRESSES]: ADDRESSES make it a server's.
certificate() {
    local use=clientAuth
    [[ -z ${3-} ]] || use+=,serverAuth$'\n'subjectAltName=$3
    key "$1"
    openssl req -new -key "$pki/$1.key" -subj "$2" |
        openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 2 -out "$pki/$1.crt" \
            -extfile <(printf 'extendedKeyUsage=%s\n' "$use") 2>"$pki/$1.log"
}

# client NAME SUBJECT: its kubeconfig is $pki/NAME.conf.
client() {
    certificate "$1" "$2"
    cat >"$pki/$1.conf" <<YAML
apiVersion: v1
kind: Config
current-context: cluster
contexts: [{name: cluster, context: {cluster: cluster, user: $1}}]
clusters: [{name: cluster, cluster: {server: "https://$API:6443", certificate-authority: $pki/ca.crt}}]
users: [{name: $1, user: {client-certificate: $pki/$1.crt, client-key: $pki/$1.key}}]
YAML
}
