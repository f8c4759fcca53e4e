# shellcheck shell=bash disable=SC2154 # sourced by hack/cluster, whose variables it uses
# Kubernetes, etcd and containerd in the cache, without any image or module registry: Debian 12's source package has the
# whole tree with all that it needs. It is the newest that has.

kubernetes_suite=bookworm containerd_suite=trixie
kubernetes_version=1.20.5+really1.20.2-1.1+deb12u1 kubernetes_tag=v1.20.2
kubernetes_programs=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl)

# kubernetes_install DIR: programs in DIR, unless an earlier run has put them there.
kubernetes_install() {
    [[ ! -e $1/complete ]] || return 0
    say "Builds Kubernetes $kubernetes_tag from Debian's source into $1: once, half an hour of a processor's time"
    local new=$1.new
    rm -rf "$new"
    mkdir -p "$new/bin" "$new/build"
    packages_unpack "$kubernetes_suite" "$new/build/tools" golang-1.19-go golang-1.19-src etcd-server \
        golang-github-modern-go-reflect2-dev
    packages_unpack "$containerd_suite" "$new/build/runtime" containerd
    kubernetes_build "$new"
    cp "$new/build/tools/usr/bin/etcd" "$new"/build/runtime/usr/bin/{containerd,containerd-shim-runc-v2,ctr} "$new/bin/"
    rm -rf "$new/build"
    touch "$new/complete"
    rm -rf "$1"
    mv "$new" "$1"
}

# packages_unpack SUITE DIR PACKAGE...: their files below DIR; nothing is installed.
packages_unpack() {
    private_apt /dev/null "$1"
    unpack_packages "${@:2}"
}

# kubernetes_build DIR: sources in DIR/build, programs in DIR/bin.
kubernetes_build() {
    local go=$1/build/go source=$1/build/go/src/k8s.io/kubernetes
    mkdir -p "$(dirname "$source")"
    private_apt /dev/null "$kubernetes_suite"
    sed -n 's/^deb /deb-src /p' "$work/apt/sources.list" >"$work/sources"
    cat "$work/sources" >>"$work/apt/sources.list"
    apt-get "${apt_options[@]}" update
    (cd "$1/build" && apt-get "${apt_options[@]}" source --download-only "kubernetes=$kubernetes_version" &&
        dpkg-source --extract ./*.dsc "$source") >"$work/source.log" 2>&1 ||
        { tail "$work/source.log" >&2; die 2 "Debian's source of Kubernetes could not be had"; }
    # The source's own goes through maps by what Go had before 1.18: the API server would crash.
    rm -r "$source/vendor/github.com/modern-go/reflect2"
    cp -r "$1/build/tools/usr/share/gocode/src/github.com/modern-go/reflect2" "$source/vendor/github.com/modern-go/"
    kubernetes_go "$1" "$go" "$source" || die 2 "Kubernetes could not be built"
}

# By GOPATH, as Debian builds its client. The API server's table of types is not in the source: made first.
kubernetes_go() {
    local version=k8s.io/kubernetes/vendor/k8s.io/component-base/version flags
    flags="-s -w -X $version.gitVersion=$kubernetes_tag -X $version.gitMajor=1 -X $version.gitMinor=20"
    ( # shellcheck disable=SC2030 # for Go alone
        export GOROOT=$1/build/tools/usr/lib/go-1.19 GOPATH=$2 GOCACHE=$1/build/cache
        export GO111MODULE=off GOPROXY=off CGO_ENABLED=0 PATH=$GOROOT/bin:$PATH
        cd "$3" || exit
        go build -o "$2/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
        "$2/openapi-gen" -i "$(kubernetes_types)" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
            -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r /dev/null
        nice go build -p 2 -ldflags "$flags" -o "$1/bin/" "${kubernetes_programs[@]/#/./cmd/}"
    )
}

# The packages whose types the API server serves, by a comment that they have; with commas between.
kubernetes_types() {
    { grep -rl --include '*.go' '+k8s:openapi-gen=' pkg
        cd staging/src && grep -rl --include '*.go' '+k8s:openapi-gen=' k8s.io/{api,apimachinery,apiextensions-apiserver} \
            k8s.io/{apiserver,client-go,kube-aggregator,metrics} | sed 's|^|vendor/|'; } |
        xargs -n 1 dirname | sort -u | sed 's|^|k8s.io/kubernetes/|' | paste -sd ,
}
