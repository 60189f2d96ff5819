//! Certificates and what is said about TLS: read, checked, compared.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::LISTEN;
use crate::config::{Settings, changed, from_str};

/// A folder with two certificates, their keys, a staple, an authority, and things that are none
/// of these.
pub fn files() -> &'static Path {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        write_all(folder.path());
        folder
    });
    FOLDER.path()
}

fn write_all(folder: &Path) {
    let write = |name: &str, content: &[u8]| fs::write(folder.join(name), content).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    write("ca.pem", authority.pem().as_bytes());
    for (name, host) in [
        ("a", "a.test"),
        ("b", "*.B.test"),
        ("other", "a.test"),
        ("address", "192.0.2.1"),
    ] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let chain = certificate.pem() + &authority.pem();
        write(&format!("{name}.pem"), chain.as_bytes());
        write(&format!("{name}.key"), key.serialize_pem().as_bytes());
    }
    write("a.ocsp", b"0\x03\x0a\x01\x00");
    write("text", b"neither this nor that\n");
    write(
        "broken.pem",
        b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    );
    write(
        "lie.pem",
        b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n",
    );
}

fn load(text: &str) -> Result<Settings, String> {
    let text = format!("{LISTEN}{text}");
    from_str("t.toml", &text, files())
        .map(|loaded| loaded.settings)
        .map_err(|mistakes| mistakes.to_string().replace("t.toml:", ""))
}

#[test]
fn a_certificate_is_for_the_names_in_it_and_relative_to_the_config() {
    let settings = load(
        "tls.certificates = [{ chain = \"a.pem\", key = \"file:a.key\", ocsp = \"a.ocsp\" }, \
         { chain = \"b.pem\", key = \"file:b.key\" }]",
    );
    let certificates = settings.unwrap().tls.certificates;
    assert_eq!(certificates[0].names, ["a.test"]);
    assert_eq!(certificates[1].names, ["*.b.test"]);
    assert_eq!(
        certificates[0].certified.cert.len(),
        2,
        "the whole chain is sent"
    );
    assert!(certificates[0].certified.ocsp.is_some());
    assert!(certificates[1].certified.ocsp.is_none());
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_where_it_stands() {
    let mismatch = "2:41: `key` is not the key of the first certificate in `chain`";
    let table = [
        (
            "none.pem",
            "file:a.key",
            "",
            "2:29: `chain` cannot be read: No such file or directory (os error 2)",
        ),
        (
            "text",
            "file:a.key",
            "",
            "2:29: `chain` holds no certificate in PEM",
        ),
        (
            "a.key",
            "file:a.key",
            "",
            "2:29: `chain` holds no certificate in PEM",
        ),
        ("a.pem", "file:other.key", "", mismatch),
        (
            "a.pem",
            "file:text",
            "",
            "2:41: `key` holds no private key in PEM; an encrypted one must be decrypted first",
        ),
        (
            "a.pem",
            "file:a.pem",
            "",
            "2:41: `key` holds no private key in PEM; an encrypted one must be decrypted first",
        ),
        (
            "a.pem",
            "a.key",
            "",
            "2:41: `key` wants where the secret is kept (\"env:NAME\" or \"file:path\"), never the secret itself; for example key = \"file:/etc/edge/a.key\"",
        ),
        (
            "a.pem",
            "file:a.key",
            ", ocsp = \"text\"",
            "2:62: `ocsp` is not an OCSP response in DER, as `openssl ocsp -respout` writes it",
        ),
        (
            "a.pem",
            "file:a.key",
            ", ocsp = \"none\"",
            "2:62: `ocsp` cannot be read: No such file or directory (os error 2)",
        ),
    ];
    for (chain, key, more, expected) in table {
        let text = format!("tls.certificates = [{{ chain=\"{chain}\",key=\"{key}\"{more} }}]");
        assert_eq!(load(&text).unwrap_err(), expected, "\n{text}\n");
    }
    for (chain, start) in [
        ("broken.pem", "2:29: `chain` is not PEM: "),
        (
            "lie.pem",
            "2:29: `chain` begins with a certificate that cannot be used: ",
        ),
    ] {
        let text = format!("tls.certificates = [{{ chain=\"{chain}\",key=\"file:a.key\" }}]");
        let said = load(&text).unwrap_err();
        assert!(said.starts_with(start), "{said}");
    }
}

#[test]
fn each_other_mistake_about_tls_has_its_place_and_its_words() {
    let site = "[[site]]\nhosts = [\"a\"]\norigin = \"store://www\"\n[site.tls]\n";
    let preload = "`preload` needs a year and every host below; \
                   for example hsts = \"365d\", include_subdomains = true";
    let table = [
        (
            "tls.min_version = \"1.1\"".to_owned(),
            "2:19: `min_version` wants \"1.2\" or \"1.3\", not \"1.1\"; for example min_version = \"1.2\"".to_owned(),
        ),
        (
            "tls.suites = [\"AES\"]".into(),
            "2:15: `suites` wants a cipher suite, not \"AES\": there are TLS_AES_256_GCM_SHA384, \
             TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256, \
             TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, \
             TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, \
             TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256; \
             for example suites = [\"TLS_AES_256_GCM_SHA384\"]"
                .into(),
        ),
        (
            "tls = { min_version = \"1.3\", suites = [\"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\"] }".into(),
            "2:39: `suites` names none of TLS 1.3, which `min_version` asks for; \
             for example suites = [\"TLS_AES_256_GCM_SHA384\"]"
                .into(),
        ),
        (
            "tls.certificates = [{ chain = \"a.pem\", key = \"file:a.key\" }, \
             { chain = \"address.pem\", key = \"file:address.key\" }]"
                .into(),
            "2:72: `chain` names no host in its subjectAltName, so nobody would be given it; \
             put it first or leave it out"
                .into(),
        ),
        (
            "tls.certificate = 1".into(),
            "2:5: unknown key `certificate`; did you mean `certificates`?".into(),
        ),
        (
            "tls.certificates = [{ chain = \"a.pem\" }]".into(),
            "2:21: missing key `key`; for example key = \"file:/etc/edge/a.key\"".into(),
        ),
        (
            format!("{site}preload = true"),
            "6:11: `preload` says nothing without `hsts`; for example hsts = \"365d\"".into(),
        ),
        (
            format!("{site}include_subdomains = true"),
            "6:22: `include_subdomains` says nothing without `hsts`; for example hsts = \"365d\"".into(),
        ),
        (format!("{site}hsts = \"30d\"\ninclude_subdomains = true\npreload = true"), format!("8:11: {preload}")),
        (format!("{site}hsts = \"365d\"\npreload = true"), format!("7:11: {preload}")),
        (
            format!("{site}client_ca = \"ca.pem\""),
            "6:13: `client_ca` needs an address that speaks TLS, as nobody could come in otherwise; \
             for example listen.https = [\"[::]:443\"]"
                .into(),
        ),
        (
            format!("listen.https = [\"127.0.0.1:0\"]\n{site}client_ca = \"a.key\""),
            "7:13: `client_ca` holds no certificate in PEM".into(),
        ),
    ];
    for (text, expected) in table {
        assert_eq!(load(&text).unwrap_err(), expected, "\n{text}\n");
    }
}

#[test]
fn a_site_promises_what_it_was_told_to() {
    for (lines, promise) in [
        ("", None),
        ("hsts = \"0s\"", Some("max-age=0")),
        ("hsts = \"1d\"", Some("max-age=86400")),
        (
            "hsts = \"1d\"\ninclude_subdomains = true",
            Some("max-age=86400; includeSubDomains"),
        ),
    ] {
        let text =
            format!("[[site]]\nhosts = [\"a\"]\norigin = \"store://www\"\n[site.tls]\n{lines}\n");
        let settings = load(&text).unwrap();
        let hsts = settings.sites[0].tls.hsts.as_ref();
        assert_eq!(hsts.map(|hsts| hsts.to_str().unwrap()), promise, "{lines}");
    }
}

#[test]
fn a_renewed_certificate_is_a_change_though_the_config_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str, to: &str| fs::copy(files().join(name), folder.path().join(to)).unwrap();
    let text =
        format!("{LISTEN}tls.certificates = [{{ chain = \"c.pem\", key = \"file:c.key\" }}]\n");
    let settings = || from_str("t", &text, folder.path()).unwrap().settings;
    copy("a.pem", "c.pem");
    copy("a.key", "c.key");
    let before = settings();
    assert!(changed(&before, &settings()).is_empty());
    copy("other.pem", "c.pem");
    copy("other.key", "c.key");
    assert_eq!(changed(&before, &settings()).applied, ["tls.certificates"]);
}
