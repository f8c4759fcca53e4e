# shellcheck shell=bash disable=SC2034 # for labs and vm
# Tests of these modules want a kernel that not every machine has: they run in the VM, and not in the labs.
vm_modules=(vlan netkit)
# as nextest's filter
vm_tests=$(IFS='|'; echo "test(/(^|::)(${vm_modules[*]})::/)")

# Tests of modules sriov_*: in a VM with NICs that have VFs, and not in a lab, since VFs live in the initial namespace.
sriov_tests='test(/(^|::)sriov_/)'

# Tests that run with netkit too, though in the labs, on kernels without it, they have run with veth: by the beginning of
# their names. None in which a pod that lives on may ask for its gateway meanwhile: an emulated machine takes so long that it does.
netkit_too=(
    bridge::hairpin bridge::isolated bridge::macspoofchk bridge::port_
    capabilities::bandwidth
    check::of_inline_mode
    del::beside del::when
    node_mode::attaches node_mode::ports
    path:: pod:: skew::a_plugin
    undo::a_link undo::taking
)

# Those that run with netkit without a bridge too: pods of the daemon's, and nothing that is a bridge's.
netkit_l3_too=(
    capabilities::bandwidth
    check::of_node_mode
    del::beside del::late del::when
    first_packet::in_node_mode
    node_mode::attaches node_mode::ports
    path:: skew::a_plugin
    # killed at every step
    add_in_node_mode del_in_node_mode
)
