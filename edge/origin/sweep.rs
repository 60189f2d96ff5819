//! Closes idle connections past their time, also when no request ever comes again. One task per
//! client while anything is kept, none otherwise; it ends with the client.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::client::Shared;

/// Starts the task unless it runs already. To be called after something was kept.
pub(crate) fn soon(shared: &Arc<Shared>) {
    if shared.sweeping.load(Ordering::Relaxed) || shared.sweeping.swap(true, Ordering::AcqRel) {
        return;
    }
    let claim = Claim {
        shared: Arc::downgrade(shared),
        held: true,
    };
    // A body may be dropped outside any runtime, on shutdown.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(run(claim));
    }
}

/// The claim to be the only task, given back however the task ends.
struct Claim {
    shared: Weak<Shared>,
    held: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.held
            && let Some(shared) = self.shared.upgrade()
        {
            shared.sweeping.store(false, Ordering::Release);
        }
    }
}

async fn run(mut claim: Claim) {
    while let Some(every) = claim.shared.upgrade().map(|shared| shared.sweep_every) {
        tokio::time::sleep(every).await;
        let Some(shared) = claim.shared.upgrade() else {
            return;
        };
        if sweep(&shared) {
            continue;
        }
        // Something may have been kept since: give the claim up, look again, take it back if so.
        shared.sweeping.store(false, Ordering::Release);
        claim.held = sweep(&shared) && !shared.sweeping.swap(true, Ordering::AcqRel);
        if !claim.held {
            return;
        }
    }
}

fn sweep(shared: &Shared) -> bool {
    let now = Instant::now();
    let kept = shared.kept.sweep(now);
    shared.multiplex.sweep(now) || kept
}

/// Whether the task runs, for [`Shared`].
pub(crate) type Sweeping = AtomicBool;
