//! The config room tried from outside: texts in, settings or mistakes out.

mod examples;
mod include;
mod mistakes;
mod print;
mod schema;
mod settings;
mod tls;

use std::path::Path;

use std::sync::LazyLock;

use super::{Loaded, Mistakes, from_str};

/// The least a config must say.
const LISTEN: &str = "listen.http = [\"127.0.0.1:0\"]\n";

fn load(text: &str) -> Result<Loaded, Mistakes> {
    from_str("t.toml", text, Path::new("/nowhere"))
}

/// A config with every key there is, none of them at its default.
static EVERYTHING: LazyLock<String> = LazyLock::new(|| {
    let folder = tls::files().display().to_string();
    TEMPLATE.replace("FOLDER", &folder)
});

/// `FOLDER` is where its certificates are.
const TEMPLATE: &str = r#"
data = "/var/lib/edge"
include = []

[listen]
http  = ["127.0.0.1:8081", "[::1]:0"]
https = ["127.0.0.1:8443"]
proxy_protocol_from = ["10.9.0.0/24"]
admin = "127.0.0.1:9091"

[tls]
certificates = [
    { chain = "FOLDER/a.pem", key = "file:FOLDER/a.key", ocsp = "FOLDER/a.ocsp" },
    { chain = "FOLDER/b.pem", key = "file:FOLDER/b.key" },
]
min_version = "1.3"
suites = ["TLS_AES_128_GCM_SHA256"]
acme_webroot = "acme"

[admin]
token = "env:PATH"

[cache]
memory = "1GiB"
object_max = "200MiB"
fills = 77
window = "2MiB"

[guard]
connections = { total = 1234 }
handshakes = 99
header_deadline = "11s"
idle = "76s"
body_idle = "31s"
head_max = "32KiB"
target_max = "8KiB"
fields_max = 100
body_max = 1234567
trusted_proxies = ["10.0.0.0/8", "::1"]
drain = "250ms"

[store]
inline_max = 0
reserve = "3GiB"
metadata_cache = "32MiB"

[log]
access = "file:/var/log/edge/access.log"
format = "combined"
level = "debug"

[origins.app]
servers = ["http://10.0.0.11:8080", "https://b.example"]
host = "app.internal:81"
protocol = "http2"
connect_timeout = "6s"
first_byte_timeout = "61s"
between_bytes_timeout = "31s"
write_timeout = "32s"
idle_timeout = "62s"
keep_idle = 65
tls = { verify = false, ca = "/dev/null", server_name = "x.example" }

[[site]]
hosts  = ["Example.com", "*.example.com"]
origin = "app"

[site.cache]
enabled = false
ttl = "10m"
key = { query_ignore = ["utm_*"], query_sort = true, headers = ["X-Tenant"], cookies = ["lang"] }
bypass = ["header:authorization", "cookie:session", "query:nocache"]
object_max = "1MiB"

[site.tls]
redirect = true
hsts = "365d"
include_subdomains = true
preload = true
client_ca = "FOLDER/ca.pem"

[[site.route]]
path = "/static/*"
origin = "store://www"
cache = { enabled = true, ttl = "30d", key = { query_only = ["page"] } }

[[site.route]]
path = "/api/*"

[[site]]
hosts = ["*"]
origin = "http://10.0.0.9"
"#;
