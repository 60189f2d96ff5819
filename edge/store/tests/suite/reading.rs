//! Ranges, readers that outlive their object, and bad bytes.

use edge_store::{Error, Span};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::{LARGE, Random, collect, fixture, noise};

#[tokio::test]
async fn a_part_of_an_object_is_exactly_that_part() {
    let f = fixture().await;
    let seed = 11;
    let mut random = Random(seed);
    println!("seed {seed}");
    for size in [100, LARGE] {
        let bytes = noise(size, 5);
        f.put("a", &bytes).await;
        for _ in 0..40 {
            let first = random.below(size);
            let last = first + random.below(size - first);
            let span = match random.below(3) {
                0 => Span::From(first as u64),
                1 => Span::Last((size - first) as u64),
                _ => Span::FromTo(first as u64, last as u64),
            };
            let object = f.store.get("www", "a", Some(span)).await.unwrap();
            let want = span.resolve(size as u64).unwrap();
            assert_eq!(object.span, want);
            assert_eq!(object.body.size_hint().exact(), Some(want.end - want.start));
            let got = collect(object.body).await;
            assert!(
                got == bytes[want.start as usize..want.end as usize],
                "{span:?}"
            );
        }
        let beyond = f.store.get("www", "a", Some(Span::From(size as u64))).await;
        assert!(matches!(beyond, Err(Error::BadRange { .. })));
    }
}

#[tokio::test]
async fn a_large_object_with_many_slabs_of_sums_is_read_from_any_offset() {
    let f = fixture().await;
    // Just beyond the 32 MiB that one slab covers.
    let size = (32 << 20) + 100_000;
    let bytes = vec![42u8; size];
    f.put("a", &bytes).await;
    for span in [
        Span::FromTo(5, 6),
        Span::FromTo((32 << 20) - 10, (32 << 20) + 10),
        Span::Last(3),
    ] {
        let object = f.store.get("www", "a", Some(span)).await.unwrap();
        let len = (object.span.end - object.span.start) as usize;
        assert_eq!(collect(object.body).await, vec![42; len], "{span:?}");
    }
    assert_eq!(f.read("a").await.unwrap().len(), size);
}

#[tokio::test]
async fn the_body_knows_how_much_is_left() {
    let f = fixture().await;
    f.put("a", &noise(LARGE, 1)).await;
    let mut body = f.store.get("www", "a", None).await.unwrap().body;
    let mut left = LARGE as u64;
    loop {
        assert_eq!(body.size_hint().exact(), Some(left));
        let Some(frame) = body.frame().await else {
            break;
        };
        left -= frame.unwrap().into_data().unwrap().len() as u64;
    }
    assert_eq!(left, 0);
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn a_reader_finishes_the_object_it_began() {
    let f = fixture().await;
    let old = noise(LARGE, 1);
    f.put("a", &old).await;
    let reader = f.store.get("www", "a", None).await.unwrap();
    f.put("a", b"new").await;
    f.store.delete("www", "a").await.unwrap();
    assert!(collect(reader.body).await == old);
}

#[tokio::test]
async fn a_flipped_byte_is_never_served() {
    let f = fixture().await;
    let bytes = noise(LARGE, 9);
    f.put("a", &bytes).await;
    let blob = f.blob();
    for at in [0, 65_535, 65_536, 300_000, LARGE - 1] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        std::fs::write(&blob, &bad).unwrap();
        let mut served = Vec::new();
        let failed = match f.store.get("www", "a", None).await {
            Err(e) => {
                assert!(matches!(e, Error::Damaged { .. }), "{e}");
                true
            }
            Ok(object) => {
                let mut body = object.body;
                let mut failed = false;
                while let Some(frame) = body.frame().await {
                    match frame {
                        Ok(frame) => served.extend(frame.into_data().unwrap()),
                        Err(e) => {
                            assert!(e.to_string().contains("checksum"), "{e}");
                            failed = true;
                        }
                    }
                }
                failed
            }
        };
        assert!(failed, "the flip at {at} went unnoticed");
        assert!(served.len() <= at && served == bytes[..served.len()]);
        // Parts that do not touch the bad chunk are fine.
        let other = if at < 65_536 { LARGE - 1 } else { 0 } as u64;
        let part = f
            .store
            .get("www", "a", Some(Span::FromTo(other, other)))
            .await;
        assert_eq!(collect(part.unwrap().body).await, [bytes[other as usize]]);
    }
    assert_eq!(f.store.counters().damaged, 5);

    std::fs::write(&blob, &bytes[..1000]).unwrap();
    assert!(matches!(f.read("a").await, Err(Error::Damaged { .. })));
    std::fs::remove_file(&blob).unwrap();
    assert!(matches!(f.read("a").await, Err(Error::Damaged { .. })));
    // What cannot be read can still be replaced.
    f.put("a", b"fresh").await;
    assert_eq!(f.read("a").await.unwrap(), b"fresh");
}

#[test]
fn a_body_may_be_polled_from_a_thread_without_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let f = runtime.block_on(fixture());
    let body = runtime.block_on(async {
        f.put("a", &noise(LARGE, 1)).await;
        f.store.get("www", "a", None).await.unwrap().body
    });
    let bytes = futures_util::FutureExt::boxed(collect(body));
    let bytes = std::thread::spawn(move || futures_block_on(bytes)).join();
    assert!(bytes.unwrap() == noise(LARGE, 1));
}

/// Polls until done, outside of any runtime.
fn futures_block_on<T>(mut future: futures_util::future::BoxFuture<'_, T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    loop {
        if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut cx) {
            return done;
        }
        std::thread::park();
    }
}
