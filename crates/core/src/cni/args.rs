//! `CNI_ARGS`: `KEY=VALUE;KEY=VALUE`.

use super::error::CniError;
use crate::ids::MacAddr;
use crate::record::PodRef;
use ipnetwork::IpNetwork;

/// What Offramp reads of `CNI_ARGS`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    /// The pod, where the runtime is Kubernetes'.
    pub pod: Option<PodRef>,
    /// Addresses asked for (`IP=`, a comma list).
    pub ips: Vec<IpNetwork>,
    /// The MAC asked for (`MAC=`).
    pub mac: Option<MacAddr>,
}

impl Args {
    /// Error 4 for a pair without `=`, a wrong value, or an unknown key without `IgnoreUnknown=1`.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        let wrong = |why: String| CniError::environment(format!("CNI_ARGS: {why}"));
        let (mut args, mut pod, mut unknown, mut ignore) = (Self::default(), PodRef::default(), None, false);
        for pair in text.split(';').filter(|p| !p.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| wrong(format!("{pair:?} is not of the form KEY=VALUE")))?;
            match key {
                "IgnoreUnknown" => ignore = matches!(value.to_ascii_lowercase().as_str(), "1" | "true"),
                "K8S_POD_NAMESPACE" => pod.namespace = value.to_owned(),
                "K8S_POD_NAME" => pod.name = value.to_owned(),
                "K8S_POD_UID" => pod.uid = value.to_owned(),
                "K8S_POD_INFRA_CONTAINER_ID" => {}
                "IP" => {
                    for ip in value.split(',') {
                        args.ips.push(ip.parse().map_err(|e| wrong(format!("IP {ip:?}: {e}")))?);
                    }
                }
                "MAC" => args.mac = Some(value.parse().map_err(|e| wrong(format!("{e}")))?),
                other => unknown = unknown.or(Some(other)),
            }
        }
        if let Some(key) = unknown.filter(|_| !ignore) {
            return Err(wrong(format!("key {key:?} is not known (IgnoreUnknown=1 passes over such keys)")));
        }
        args.pod = (!pod.name.is_empty()).then_some(pod);
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kubernetes_sends() {
        let args = Args::parse("K8S_POD_NAME=full;K8S_POD_INFRA_CONTAINER_ID=77;K8S_POD_UID=u;IgnoreUnknown=1;K8S_POD_NAMESPACE=default;x=y").unwrap();
        assert_eq!(args.pod.unwrap().to_string(), "default/full");
        let args = Args::parse("IP=10.0.0.5/24,fd00::5;MAC=02:00:00:00:00:01").unwrap();
        assert_eq!((args.ips.len(), args.mac.is_some(), args.pod), (2, true, None));
        assert_eq!(Args::parse("").unwrap(), Args::default());
    }

    #[test]
    fn wrong_args_are_error_4() {
        for bad in ["x", "x=y", "IP=nope", "MAC=01:00:00:00:00:00"] {
            assert_eq!(Args::parse(bad).unwrap_err().code, 4, "{bad}");
        }
    }
}
