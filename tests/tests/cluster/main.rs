//! Daemons that follow a Kubernetes API, on a real kernel: see `hack/lab`. One file a topic.

mod own_node;
