//! The memory tier: `moka` (TinyLFU admission), weighed in bytes.
//!
//! Below each key stand the variants of one resource, newest first. Weights say
//! what to keep; the ledger's charges, held by the entries, say what is alive.

use crate::entry::Entry;
use crate::key::Key;
use http::HeaderMap;
use moka::ops::compute::Op;
use moka::sync::Cache;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Variants kept below one key; the oldest goes first.
const VARIANTS_MAX: usize = 16;

/// The variants below one key take at most this part of the tier, the newest
/// alone excepted: a family is evicted as one.
const FAMILY_PART: u64 = 4;

/// Weights are counted in this many bytes, since moka's are 32 bits wide.
const WEIGHT_BYTES: u64 = 64;

#[derive(Clone)]
struct Family {
    key: Key,
    variants: Arc<[Arc<Entry>]>,
}

pub(crate) struct Memory {
    families: Cache<u128, Family, BuildHasherDefault<Ready>>,
    family_bytes_max: u64,
    evicted: Arc<AtomicU64>,
}

/// What a lookup in the memory tier found.
pub(crate) enum Found {
    Nothing,
    /// Stored under this key, but for other request fields.
    OtherVariants(Arc<[Arc<Entry>]>),
    Variant(Arc<Entry>),
}

impl Found {
    /// Whether two requests would be given the same variant, as far as what is
    /// stored tells.
    pub(crate) fn agree(&self, one: &HeaderMap, other: &HeaderMap) -> bool {
        let agree = |entry: &Arc<Entry>| entry.meta.variance.agree(one, other);
        match self {
            Found::Nothing => true,
            Found::OtherVariants(others) => others.iter().all(agree),
            Found::Variant(entry) => agree(entry),
        }
    }
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Memory {
        let evicted = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&evicted);
        Memory {
            families: Cache::builder()
                .max_capacity(bytes / WEIGHT_BYTES)
                .weigher(|_, family: &Family| {
                    let bytes: u64 = family.variants.iter().map(|entry| entry.bytes()).sum();
                    u32::try_from(bytes.div_ceil(WEIGHT_BYTES)).unwrap_or(u32::MAX)
                })
                .eviction_listener(move |_, family, cause| {
                    if cause.was_evicted() {
                        count.fetch_add(family.variants.len() as u64, Ordering::Relaxed);
                    }
                })
                .build_with_hasher(BuildHasherDefault::default()),
            family_bytes_max: bytes / FAMILY_PART,
            evicted,
        }
    }

    pub(crate) fn find(&self, key: &Key, request: &HeaderMap) -> Found {
        let Some(family) = self.families.get(&key.hash()) else {
            return Found::Nothing;
        };
        if family.key != *key {
            return Found::Nothing;
        }
        match family
            .variants
            .iter()
            .find(|entry| entry.meta.variance.fits(request))
        {
            Some(entry) => Found::Variant(Arc::clone(entry)),
            None => Found::OtherVariants(family.variants),
        }
    }

    /// Puts an entry in the place of the one for the same request fields,
    /// unless that one was fetched later.
    pub(crate) fn insert(&self, entry: Arc<Entry>) {
        let key = entry.meta.key.clone();
        self.families
            .entry(key.hash())
            .and_compute_with(move |before| {
                let before = before.map(moka::Entry::into_value);
                let before = before.filter(|before| before.key == key);
                let others = before.map(|before| before.variants);
                match self.family(entry, others.as_deref().unwrap_or_default()) {
                    Some(variants) => Op::Put(Family { key, variants }),
                    None => Op::Nop,
                }
            });
    }

    /// The variants with `entry` as the newest; `None` when one for the same
    /// request fields was fetched later.
    fn family(&self, entry: Arc<Entry>, others: &[Arc<Entry>]) -> Option<Arc<[Arc<Entry>]>> {
        let mut bytes = entry.bytes();
        let mut variants = vec![Arc::clone(&entry)];
        for other in others {
            if other.meta.variance == entry.meta.variance {
                if other.meta.stamp > entry.meta.stamp {
                    return None;
                }
                continue;
            }
            bytes += other.bytes();
            if variants.len() < VARIANTS_MAX && bytes <= self.family_bytes_max {
                variants.push(Arc::clone(other));
            }
        }
        Some(variants.into())
    }

    /// Drops this very entry, if it is still there.
    pub(crate) fn remove(&self, entry: &Arc<Entry>) {
        self.families
            .entry(entry.meta.key.hash())
            .and_compute_with(|before| {
                let Some(before) = before.map(moka::Entry::into_value) else {
                    return Op::Nop;
                };
                let left: Vec<_> = before
                    .variants
                    .iter()
                    .filter(|other| !Arc::ptr_eq(other, entry))
                    .cloned()
                    .collect();
                if left.len() == before.variants.len() {
                    return Op::Nop;
                }
                if left.is_empty() {
                    return Op::Remove;
                }
                Op::Put(Family {
                    key: before.key,
                    variants: left.into(),
                })
            });
    }

    /// Does the evictions that are due.
    pub(crate) fn settle(&self) {
        self.families.run_pending_tasks();
    }

    pub(crate) fn keys(&self) -> u64 {
        self.families.entry_count()
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// Keys are hashes already, keyed with a secret: half of one is hash enough.
#[derive(Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}
