//! The site a node shows that was started without a config file: six small files, put into the
//! bucket `www` when there is no such bucket yet. What users put there is never touched.

use bytes::Bytes;
use edge_store::{Body, Error, Put, Store};
use http_body_util::{BodyExt as _, Full};

const BUCKET: &str = "www";

struct File {
    key: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const SVG: &str = "image/svg+xml; charset=utf-8";

/// The start page comes last: where it is, everything it needs is there too.
const FILES: [File; 6] = [
    File {
        key: "404.html",
        content_type: HTML,
        bytes: include_bytes!("demo/404.html"),
    },
    File {
        key: "favicon.svg",
        content_type: SVG,
        bytes: include_bytes!("demo/favicon.svg"),
    },
    File {
        key: "horizon.svg",
        content_type: SVG,
        bytes: include_bytes!("demo/horizon.svg"),
    },
    File {
        key: "script.js",
        content_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("demo/script.js"),
    },
    File {
        key: "style.css",
        content_type: "text/css; charset=utf-8",
        bytes: include_bytes!("demo/style.css"),
    },
    File {
        key: "index.html",
        content_type: HTML,
        bytes: include_bytes!("demo/index.html"),
    },
];

/// Puts the demo site into `store`, unless there is a bucket `www` already.
pub(crate) async fn install(store: &Store) -> Result<(), Error> {
    if store.bucket_exists(BUCKET).await? {
        return Ok(());
    }
    store.create_bucket(BUCKET).await?;
    for file in &FILES {
        let put = Put {
            content_type: Some(file.content_type.to_owned()),
            ..Put::default()
        };
        store.put(BUCKET, file.key, put, body(file.bytes)).await?;
    }
    Ok(())
}

fn body(bytes: &'static [u8]) -> Body {
    Full::new(Bytes::from_static(bytes))
        .map_err(|never| match never {})
        .boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_store::{List, Settings};

    #[test]
    fn every_file_of_the_folder_is_installed() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("edge/node/demo");
        let mut there: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        let mut installed = FILES.map(|file| file.key);
        installed.sort_unstable();
        assert_eq!(there, installed);
    }

    #[tokio::test]
    async fn the_demo_is_installed_once_and_touches_nothing_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Settings::at(directory.path())).await.unwrap();
        install(&store).await.unwrap();
        let info = store.head(BUCKET, "index.html").await.unwrap();
        assert_eq!(info.content_type.as_deref(), Some(HTML));
        assert_eq!(info.cache_control, None);

        store.delete(BUCKET, "index.html").await.unwrap();
        install(&store).await.unwrap();
        let page = store.list(BUCKET, List::default()).await.unwrap();
        assert_eq!(page.objects.len(), FILES.len() - 1);
        store.close().await.unwrap();
    }
}
