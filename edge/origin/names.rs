//! Remembers the addresses of names: for their TTL within a floor and a cap, failures briefly, the
//! last good answer for as long as the DNS fails. One query per name at a time, in a task of its own,
//! so a request that goes away does not take the answer with it. Bounded by
//! [`Dns::names_max`](crate::Dns::names_max).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::counters::{Counters, add};
use crate::origin::WEEK;
use crate::resolve::{NoAnswer, Resolve};
use crate::settings::Dns;

/// With an older answer at hand, a slow DNS holds a request back no longer than this.
const PATIENCE: Duration = Duration::from_secs(1);

type Addresses = Arc<[IpAddr]>;
type Outcome = Result<Addresses, NoAnswer>;

/// What is known about names.
pub(crate) struct Names {
    resolver: Arc<dyn Resolve>,
    settings: Dns,
    counters: Arc<Counters>,
    known: Mutex<HashMap<Arc<str>, Entry>>,
}

struct Entry {
    good: Option<(Addresses, Instant)>,
    /// The last failure, and until when nobody asks again.
    bad: Option<(NoAnswer, Instant)>,
    /// The query under way.
    flight: Option<watch::Receiver<Option<Outcome>>>,
    used: Instant,
}

enum Next {
    Known(Outcome),
    /// Wait for the query; what to use if it takes too long.
    Wait(watch::Receiver<Option<Outcome>>, Option<Addresses>),
}

impl Names {
    pub(crate) fn new(resolver: Arc<dyn Resolve>, settings: Dns, counters: Arc<Counters>) -> Self {
        Self {
            resolver,
            settings,
            counters,
            known: Mutex::new(HashMap::new()),
        }
    }

    /// The addresses of `name`, at least one.
    pub(crate) async fn addresses(self: &Arc<Self>, name: &Arc<str>) -> Outcome {
        let (mut flight, older) = match self.look(name, Instant::now()) {
            Next::Known(outcome) => return outcome,
            Next::Wait(flight, older) => (flight, older),
        };
        let landed = async {
            match flight.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone().unwrap_or(Err(NoAnswer::Missing)),
                // The task died with its runtime.
                Err(_) => Err(NoAnswer::Failed("the query was given up".to_owned())),
            }
        };
        let Some(older) = older else {
            return landed.await;
        };
        match tokio::time::timeout(PATIENCE, landed).await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(NoAnswer::Missing)) => Err(NoAnswer::Missing),
            _ => Ok(older),
        }
    }

    /// What is known, or the query to wait for.
    fn look(self: &Arc<Self>, name: &Arc<str>, now: Instant) -> Next {
        let mut known = self.known.lock();
        if !known.contains_key(name) {
            make_room(&mut known, self.settings.names_max, now);
        }
        let entry = known.entry(name.clone()).or_insert_with(|| Entry {
            good: None,
            bad: None,
            flight: None,
            used: now,
        });
        entry.used = now;
        if let Some((addresses, until)) = &entry.good
            && *until > now
        {
            return Next::Known(Ok(addresses.clone()));
        }
        let older = entry.good.as_ref().map(|(addresses, _)| addresses.clone());
        if let Some((why, until)) = &entry.bad
            && *until > now
        {
            return Next::Known(older.ok_or_else(|| why.clone()));
        }
        // A flight whose task is gone reports so, and is replaced.
        let flight = match entry
            .flight
            .take()
            .filter(|flight| flight.has_changed().is_ok())
        {
            Some(flight) => flight,
            None => self.ask(name.clone()),
        };
        entry.flight = Some(flight.clone());
        Next::Wait(flight, older)
    }

    fn ask(self: &Arc<Self>, name: Arc<str>) -> watch::Receiver<Option<Outcome>> {
        let (tell, flight) = watch::channel(None);
        let names = self.clone();
        add(&self.counters.dns_queries);
        tokio::spawn(async move {
            let limit = names.settings.timeout;
            let answer = match tokio::time::timeout(limit, names.resolver.resolve(&name)).await {
                Ok(Ok(answer)) if answer.addresses.is_empty() => Err(NoAnswer::Missing),
                Ok(answer) => answer,
                Err(_) => Err(NoAnswer::TimedOut(limit)),
            };
            let answer = answer.map(|answer| (answer.addresses.into(), answer.ttl));
            let outcome = names.learn(&name, answer, Instant::now());
            // Nobody waiting is fine: the answer is remembered.
            let _ = tell.send(Some(outcome));
        });
        flight
    }

    /// Remembers the end of a query.
    fn learn(
        &self,
        name: &Arc<str>,
        answer: Result<(Addresses, Duration), NoAnswer>,
        now: Instant,
    ) -> Outcome {
        let mut known = self.known.lock();
        let entry = known.get_mut(name);
        match answer {
            Ok((addresses, ttl)) => {
                // `clamp` would panic on a floor above the cap.
                let ttl = ttl
                    .min(self.settings.ttl_max)
                    .max(self.settings.ttl_min)
                    .min(WEEK);
                if let Some(entry) = entry {
                    entry.good = Some((addresses.clone(), now + ttl));
                    entry.bad = None;
                    entry.flight = None;
                }
                Ok(addresses)
            }
            Err(why) => {
                if !matches!(why, NoAnswer::Missing) {
                    add(&self.counters.dns_failures);
                    log::warn!("looking up {name:?}: {why}");
                }
                if let Some(entry) = entry {
                    if matches!(why, NoAnswer::Missing) {
                        entry.good = None;
                    }
                    entry.bad = Some((why.clone(), now + self.settings.ttl_negative.min(WEEK)));
                    entry.flight = None;
                }
                Err(why)
            }
        }
    }
}

/// Room for one more: what has expired goes first, else what was unused for longest.
fn make_room(known: &mut HashMap<Arc<str>, Entry>, names_max: usize, now: Instant) {
    if known.len() < names_max.max(1) {
        return;
    }
    known.retain(|_, entry| {
        entry.flight.is_some() || entry.good.as_ref().is_some_and(|(_, until)| *until > now)
    });
    if known.len() < names_max.max(1) {
        return;
    }
    let oldest = known
        .iter()
        .min_by_key(|(_, entry)| entry.used)
        .map(|(name, _)| name.clone());
    if let Some(oldest) = oldest {
        known.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use async_trait::async_trait;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::resolve::Answer;

    /// Answers from a script, one entry per query, each after a permit.
    struct Script {
        answers: Mutex<Vec<Result<Answer, NoAnswer>>>,
        go: Semaphore,
    }

    #[async_trait]
    impl Resolve for Script {
        async fn resolve(&self, _name: &str) -> Result<Answer, NoAnswer> {
            self.go.acquire().await.unwrap().forget();
            self.answers.lock().remove(0)
        }
    }

    fn answer(last: u8, ttl: u64) -> Result<Answer, NoAnswer> {
        Ok(Answer {
            addresses: vec![[192, 0, 2, last].into()],
            ttl: Duration::from_secs(ttl),
        })
    }

    fn names(
        settings: Dns,
        permits: usize,
        answers: Vec<Result<Answer, NoAnswer>>,
    ) -> (Arc<Names>, Arc<Script>) {
        let script = Arc::new(Script {
            answers: Mutex::new(answers),
            go: Semaphore::new(permits),
        });
        (
            Arc::new(Names::new(script.clone(), settings, Arc::default())),
            script,
        )
    }

    fn dns() -> Dns {
        Dns {
            ttl_min: Duration::from_secs(10),
            ttl_max: Duration::from_secs(100),
            ..Dns::default()
        }
    }

    /// As [`Names::addresses`] at a given time; answers are still stamped with the real one, so times
    /// count from the test's start.
    async fn at(names: &Arc<Names>, name: &str, now: Instant) -> Outcome {
        let name: Arc<str> = name.into();
        match names.look(&name, now) {
            Next::Known(outcome) => outcome,
            Next::Wait(mut flight, older) => {
                let landed = flight
                    .wait_for(Option::is_some)
                    .await
                    .unwrap()
                    .clone()
                    .unwrap();
                landed.or_else(|why| {
                    if matches!(why, NoAnswer::Missing) {
                        Err(why)
                    } else {
                        older.ok_or(why)
                    }
                })
            }
        }
    }

    fn asked(names: &Names) -> u64 {
        names.counters.dns_queries.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn ttl_is_honoured_between_floor_and_cap() {
        let (names, _) = names(
            dns(),
            9,
            vec![answer(1, 0), answer(2, 50), answer(3, 9999), answer(4, 50)],
        );
        let now = Instant::now();
        for (after, expected, queries) in [
            (0, 1, 1),
            (5, 1, 1),
            (12, 2, 2),
            (45, 2, 2),
            (60, 3, 3),
            (95, 3, 3),
            (110, 4, 4),
        ] {
            let found = at(&names, "a", now + Duration::from_secs(after))
                .await
                .unwrap();
            assert_eq!(
                (found[0], asked(&names)),
                ([192, 0, 2, expected].into(), queries),
                "after {after} s"
            );
        }
    }

    #[tokio::test]
    async fn a_failure_is_remembered_briefly_and_then_asked_again() {
        let failed = Err(NoAnswer::Failed("refused".into()));
        let (names, _) = names(dns(), 9, vec![failed, answer(1, 50)]);
        let now = Instant::now();
        assert!(matches!(
            at(&names, "a", now).await,
            Err(NoAnswer::Failed(_))
        ));
        assert!(matches!(
            at(&names, "a", now).await,
            Err(NoAnswer::Failed(_))
        ));
        assert_eq!(asked(&names), 1);
        assert!(at(&names, "a", now + Duration::from_secs(10)).await.is_ok());
        assert_eq!(asked(&names), 2);
    }

    #[tokio::test]
    async fn the_last_good_answer_is_used_while_the_dns_fails_but_not_once_the_name_is_gone() {
        let failed = Err(NoAnswer::TimedOut(Duration::from_secs(5)));
        let settings = Dns {
            ttl_min: Duration::ZERO,
            ..Dns::default()
        };
        let (names, _) = names(
            settings,
            9,
            vec![answer(1, 1), failed, Err(NoAnswer::Missing)],
        );
        let now = Instant::now();
        let first = at(&names, "a", now).await.unwrap();
        assert_eq!(
            at(&names, "a", now + Duration::from_secs(2)).await.unwrap(),
            first
        );
        // Within the negative TTL of 5 s nobody is asked, and the old answer stands.
        assert_eq!(
            at(&names, "a", now + Duration::from_secs(4)).await.unwrap(),
            first
        );
        assert_eq!(asked(&names), 2);
        assert!(matches!(
            at(&names, "a", now + Duration::from_secs(9)).await,
            Err(NoAnswer::Missing)
        ));
    }

    #[tokio::test]
    async fn a_hundred_requests_for_one_name_ask_once_and_one_leaving_harms_nobody() {
        let (names, script) = names(dns(), 0, vec![answer(1, 20)]);
        let name: Arc<str> = "a".into();
        let leaver = tokio::spawn({
            let (names, name) = (names.clone(), name.clone());
            async move { names.addresses(&name).await }
        });
        tokio::task::yield_now().await;
        let others: Vec<_> = (0..100)
            .map(|_| {
                let (names, name) = (names.clone(), name.clone());
                tokio::spawn(async move { names.addresses(&name).await })
            })
            .collect();
        tokio::task::yield_now().await;
        leaver.abort();
        script.go.add_permits(1);
        for other in others {
            assert!(other.await.unwrap().is_ok());
        }
        assert_eq!(asked(&names), 1);
    }

    #[tokio::test]
    async fn a_dns_that_never_answers_is_given_up_at_the_deadline() {
        let settings = Dns {
            timeout: Duration::from_millis(30),
            ..dns()
        };
        let (names, _) = names(settings, 0, vec![]);
        let found = names.addresses(&"a".into()).await;
        assert!(matches!(found, Err(NoAnswer::TimedOut(_))));
    }

    #[tokio::test]
    async fn names_are_forgotten_beyond_the_bound() {
        let settings = Dns {
            names_max: 3,
            ..dns()
        };
        let (names, _) = names(settings, 99, (0..10).map(|n| answer(n, 50)).collect());
        for n in 0..10 {
            at(&names, &format!("n{n}"), Instant::now()).await.unwrap();
        }
        assert_eq!(names.known.lock().len(), 3);
    }
}
