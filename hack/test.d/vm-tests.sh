# shellcheck shell=bash disable=SC2034 # for labs and vm
# Tests of these modules want a kernel that not every machine has: they run in the VM, and not in the labs.
vm_modules=(vlan netkit)
# as nextest's filter
vm_tests=$(IFS='|'; echo "test(/(^|::)(${vm_modules[*]})::/)")

# Tests of modules sriov_*: in a VM with NICs that have VFs, and not in a lab, since VFs live in the initial namespace.
sriov_tests='test(/(^|::)sriov_/)'
