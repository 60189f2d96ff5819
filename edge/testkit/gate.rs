//! A gate: a scripted reply stops at it until the test opens it. The test can also wait until
//! somebody has come to the gate, so that no test needs to sleep.

use std::time::Duration;

use tokio::sync::watch;

use crate::wait::eventually;

/// A handle shared by the test and the replies that stop at it. Once open it stays open.
#[derive(Clone, Debug)]
pub struct Gate {
    open: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

impl Gate {
    /// A closed gate.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            open: watch::Sender::new(false),
            arrived: watch::Sender::new(0),
        }
    }

    /// Lets everybody through, those who wait and those who come later.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// How many have come to the gate so far, through it or not.
    pub fn arrived(&self) -> usize {
        *self.arrived.borrow()
    }

    /// Waits until `count` have come to the gate; panics after ten seconds.
    pub fn wait_until_reached(&self, count: usize) {
        let reached = eventually(Duration::from_secs(10), || self.arrived() >= count);
        assert!(
            reached,
            "{} came to the gate, expected {count}",
            self.arrived()
        );
    }

    /// Stops here until the gate is open.
    pub(crate) async fn pass(&self) {
        self.arrived.send_modify(|count| *count += 1);
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}
