//! After a 101: bytes both ways, until both sides have ended or nothing has
//! passed for too long. RFC 9110, section 7.8.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// A tunnel through which nothing passes for this long is closed. WebSockets
/// that mean to stay send pings far more often.
const SILENCE_MAX: Duration = Duration::from_secs(60 * 60);

/// How often silence is looked for.
const LOOK: Duration = Duration::from_secs(30);

const BUFFER_BYTES: usize = 16 * 1024;

/// Bytes that went to the client.
pub(crate) async fn run(
    client: impl AsyncRead + AsyncWrite + Unpin,
    origin: impl AsyncRead + AsyncWrite + Unpin,
) -> u64 {
    let began = Instant::now();
    let last = AtomicU64::new(0);
    let down = AtomicU64::new(0);
    let up = AtomicU64::new(0);
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_origin, mut to_origin) = tokio::io::split(origin);
    let both = async {
        tokio::join!(
            copy(&mut from_client, &mut to_origin, &up, &last, began),
            copy(&mut from_origin, &mut to_client, &down, &last, began),
        )
    };
    let silence = async {
        loop {
            tokio::time::sleep(LOOK).await;
            let since = began
                .elapsed()
                .as_secs()
                .saturating_sub(last.load(Ordering::Relaxed));
            if since > SILENCE_MAX.as_secs() {
                return;
            }
        }
    };
    tokio::select! {
        _ = both => {}
        () = silence => {}
    }
    down.load(Ordering::Relaxed)
}

/// One direction, with its end passed on.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &AtomicU64,
    last: &AtomicU64,
    began: Instant,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 || to.write_all(&buffer[..n]).await.is_err() || to.flush().await.is_err() {
            break;
        }
        bytes.fetch_add(n as u64, Ordering::Relaxed);
        last.store(began.elapsed().as_secs(), Ordering::Relaxed);
    }
    // The other side learns of the end; if it is gone it knows already.
    let _ = to.shutdown().await;
}
