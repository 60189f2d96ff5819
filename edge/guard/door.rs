//! The door at accept: a cap on open connections.
//!
//! A permit is a connection's place; dropping it gives the place back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts connections in and out.
#[derive(Debug)]
pub struct Door {
    open: AtomicUsize,
    most: AtomicUsize,
}

/// The right to one open connection.
#[derive(Debug)]
pub struct Permit(Arc<Door>);

impl Door {
    /// A door that lets `most` connections be open at once.
    pub fn new(most: usize) -> Arc<Door> {
        Arc::new(Door {
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
        })
    }

    /// A place for one more connection, or `None` when all are taken.
    pub fn enter(self: &Arc<Door>) -> Option<Permit> {
        let most = self.most.load(Ordering::Relaxed);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < most).then_some(open + 1)
            })
            .ok()
            .map(|_| Permit(Arc::clone(self)))
    }

    /// Changes the cap. Connections beyond a smaller one stay until they end.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_out_up_to_the_cap_and_come_back() {
        let door = Door::new(2);
        let first = door.enter().unwrap();
        let second = door.enter().unwrap();
        assert!(door.enter().is_none());
        drop(first);
        let third = door.enter().unwrap();
        door.set_most(1);
        drop(third);
        assert!(door.enter().is_none());
        drop(second);
        assert!(door.enter().is_some());
        assert_eq!(door.open(), 0);
    }
}
