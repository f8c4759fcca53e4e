//! Who the server is: a certificate for its address, made by `openssl` when it starts.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What the server shows, and what its clients must trust for that.
pub struct Identity {
    pub acceptor: TlsAcceptor,
    /// The certificate, in PEM: it is signed by itself.
    pub authority: String,
}

impl Identity {
    pub fn new(address: IpAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let mut command = Command::new("openssl");
        command.args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=api".split(' '),
        );
        command.arg("-addext").arg(format!("subjectAltName=IP:{address}"));
        // What is a CA may not be a server.
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        command.arg("-keyout").arg(path("key")).arg("-out").arg(path("certificate"));
        crate::netns::run(&mut command);
        let key = PrivateKeyDer::from_pem_file(path("key")).unwrap();
        let certificate = CertificateDer::from_pem_file(path("certificate")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate], key).unwrap();
        let authority = std::fs::read_to_string(path("certificate")).unwrap();
        Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority }
    }
}
