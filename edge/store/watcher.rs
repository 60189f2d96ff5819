//! Whoever must know of a change before its writer is told it happened, and the
//! names of the things that change.

/// Told about every change: after it is durable and visible, before its writer
/// gets an answer. Called on the committing thread, so it must be quick.
pub trait Watcher: Send + Sync {
    /// This object was written or deleted.
    fn changed(&self, bucket: &str, key: &str);
    /// This bucket was made or deleted.
    fn bucket_changed(&self, bucket: &str);
}

/// The tag of everything that depends on one object.
pub fn tag(bucket: &str, key: &str) -> String {
    // No bucket name holds a slash, so this never equals a bucket's own tag.
    format!("store:{bucket}/{key}")
}

/// The tag of everything that depends on whether a bucket exists.
pub fn bucket_tag(bucket: &str) -> String {
    format!("store:{bucket}")
}
