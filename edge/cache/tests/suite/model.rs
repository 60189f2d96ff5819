//! Random operations, checked against a plain account of what was fetched, when,
//! and what was purged since: what the engine serves must follow from it.

use crate::stage::*;
use bytes::Bytes;
use edge_cache::{
    Broken, Decision, Entry, Fill, Lookup, Meta, Mode, Reader, Resolved, Selector, Verdict, Why,
    Writer,
};
use std::collections::HashMap;

const PATHS: [&str; 4] = ["/a", "/b", "/img/a", "/img/b"];

/// One body the origin began to send.
struct Content {
    bytes: Vec<u8>,
    whole: bool,
}

/// One head the origin sent: of a full answer, or of a 304.
#[derive(Clone)]
struct Head {
    content: usize,
    place: Place,
    /// When its request was sent, in steps and in seconds: ages count from there
    /// (RFC 9111, section 4.2.3, response_delay).
    asked: u64,
    asked_at: u64,
    /// When it arrived, in steps.
    arrived: u64,
    lifetime: u64,
    tag: u64,
    etag: bool,
}

/// A path and what the request says that responses may vary on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Place {
    path: usize,
    variant: u64,
}

impl Place {
    /// The first two paths are the same for everybody.
    fn varies(self) -> bool {
        self.path >= 2
    }

    /// Whether a response for this place may be given to a request for another.
    fn fits(self, other: Place) -> bool {
        self.path == other.path && (!self.varies() || self.variant == other.variant)
    }
}

/// A fetch under way.
struct Fetch {
    place: Place,
    asked: u64,
    asked_at: u64,
    stage: FetchStage,
}

enum FetchStage {
    Waiting(Fill, Option<usize>),
    Writing {
        writer: Writer,
        head: usize,
        sent: usize,
    },
}

struct Follower {
    place: Place,
    came: u64,
    came_at: u64,
    leads: bool,
    stage: FollowerStage,
}

enum FollowerStage {
    Unresolved(Reader),
    Reading {
        reader: Reader,
        content: usize,
        at: usize,
    },
}

struct World {
    stage: Stage,
    dice: Dice,
    step: u64,
    seconds: u64,
    heads: Vec<Head>,
    contents: Vec<Content>,
    purges: Vec<(u64, Selector, Mode)>,
    fetches: Vec<Fetch>,
    followers: Vec<Follower>,
    /// What must be stored.
    stored: HashMap<Place, usize>,
    /// Keys that may be remembered: step of the request, seconds of the answer.
    remembered: HashMap<usize, (u64, u64)>,
    seen: [u64; 8],
}

#[test]
fn what_is_served_follows_from_what_was_fetched_and_purged() {
    let first = seed();
    let mut seen = [0; 8];
    for seed in first..first + 20 {
        println!("SEED={seed}");
        let mut world = World::new(seed);
        for _ in 0..2500 {
            world.step();
        }
        world.end();
        for (all, one) in seen.iter_mut().zip(world.seen) {
            *all += one;
        }
    }
    println!("{seen:?}");
    assert!(
        seen.iter().all(|count| *count > 50),
        "a case hardly came up: {seen:?}"
    );
}

impl World {
    fn new(seed: u64) -> World {
        World {
            stage: Stage::new(),
            dice: Dice(seed),
            step: 0,
            seconds: 0,
            heads: Vec::new(),
            contents: Vec::new(),
            purges: Vec::new(),
            fetches: Vec::new(),
            followers: Vec::new(),
            stored: HashMap::new(),
            remembered: HashMap::new(),
            seen: [0; 8],
        }
    }

    fn step(&mut self) {
        self.step += 1;
        match self.dice.below(100) {
            0..25 => self.look_up(),
            25..50 => self.carry_a_fetch(),
            50..85 => self.carry_a_reader(),
            85..90 => self.purge(),
            90..93 => {
                let seconds = 1 + self.dice.below(20);
                self.seconds += seconds;
                self.stage.advance(seconds);
            }
            93..95 => self.drop_a_reader(),
            _ => self.settle(),
        }
    }

    fn end(&mut self) {
        self.fetches.clear();
        self.settle();
        self.followers.clear();
        self.stage.purge(Selector::Everything, Mode::Hard);
        for path in PATHS {
            for variant in ["0", "1"] {
                drop(self.stage.get_with(path, &[("x-v", variant)]));
            }
        }
        let counters = self.stage.engine.counters();
        assert_eq!((counters.live_bytes, counters.fills), (0, 0));
    }

    fn look_up(&mut self) {
        let place = Place {
            path: self.dice.below(4) as usize,
            variant: self.dice.below(2),
        };
        let variant = place.variant.to_string();
        let lookup = self.stage.get_with(PATHS[place.path], &[("x-v", &variant)]);
        let due = self.due(place);
        match lookup {
            Lookup::Fresh(entry, _) => {
                self.seen[0] += 1;
                let head = self.head_of(&entry.meta).clone();
                self.check_whole(&entry, place);
                assert!(self.is_fresh(&head, self.seconds), "stale as fresh");
                assert!(!self.is_purged(&head, self.step), "purged");
            }
            other if due.is_some() => panic!("{place:?} is stored and fresh, but {other:?}"),
            Lookup::Stale(entry, fill, reader) => {
                self.seen[1] += 1;
                let index = index(&entry.meta, "x-head");
                self.check_whole(&entry, place);
                let head = &self.heads[index];
                assert!(head.etag);
                assert!(
                    !self.is_purged_for_good(head),
                    "a purged response is validated"
                );
                self.begin(place, fill, reader, Some(index));
            }
            Lookup::Miss(_, fill, reader) => {
                self.seen[2] += 1;
                self.begin(place, fill, reader, None);
            }
            Lookup::Follow(reader) => {
                self.seen[3] += 1;
                self.follow(place, reader, false);
            }
            Lookup::Pass(Why::Remembered) => {
                self.seen[4] += 1;
                let (asked, at) = self.remembered[&place.path];
                assert!(self.seconds < at + 120);
                let purged = |(step, selector, _): &(u64, Selector, Mode)| {
                    *step > asked && covers(selector, place.path, None)
                };
                assert!(!self.purges.iter().any(purged), "remembered past a purge");
            }
            Lookup::Pass(why) => panic!("{why:?}"),
        }
    }

    /// What is stored for a place and must be served.
    fn due(&self, place: Place) -> Option<&Head> {
        let place = Place {
            variant: if place.varies() { place.variant } else { 0 },
            ..place
        };
        let head = &self.heads[*self.stored.get(&place)?];
        let usable = self.is_fresh(head, self.seconds) && !self.is_purged(head, self.step);
        usable.then_some(head)
    }

    /// A fill was handed out: nobody may be fetching the same.
    fn begin(&mut self, place: Place, fill: Fill, reader: Reader, stale: Option<usize>) {
        for fetch in &self.fetches {
            if fetch.place != place {
                continue;
            }
            let joinable = match &fetch.stage {
                FetchStage::Waiting(..) => true,
                FetchStage::Writing { head, .. } => {
                    let head = &self.heads[*head];
                    self.is_fresh(head, self.seconds) && !self.is_purged(head, self.step)
                }
            };
            let purged = |(step, selector, _): &(u64, Selector, Mode)| {
                *step > fetch.asked && covers(selector, place.path, None)
            };
            let purged = self.purges.iter().any(purged);
            assert!(!joinable || purged, "two fetches of {place:?}");
        }
        self.follow(place, reader, true);
        self.fetches.push(Fetch {
            place,
            asked: self.step,
            asked_at: self.seconds,
            stage: FetchStage::Waiting(fill, stale),
        });
    }

    fn follow(&mut self, place: Place, reader: Reader, leads: bool) {
        self.followers.push(Follower {
            place,
            came: self.step,
            came_at: self.seconds,
            leads,
            stage: FollowerStage::Unresolved(reader),
        });
    }

    fn carry_a_fetch(&mut self) {
        if self.fetches.is_empty() {
            return;
        }
        let at = self.dice.below(self.fetches.len() as u64) as usize;
        let fetch = self.fetches.swap_remove(at);
        let Fetch {
            place,
            asked,
            asked_at,
            stage,
        } = fetch;
        let stage = match stage {
            FetchStage::Waiting(fill, stale) => self.answer(fill, stale, place, (asked, asked_at)),
            FetchStage::Writing { writer, head, sent } => self.pour(writer, head, sent),
        };
        if let Some(stage) = stage {
            self.fetches.push(Fetch {
                place,
                asked,
                asked_at,
                stage,
            });
        }
    }

    fn answer(
        &mut self,
        fill: Fill,
        stale: Option<usize>,
        place: Place,
        asked: (u64, u64),
    ) -> Option<FetchStage> {
        match self.dice.below(20) {
            0 => drop(fill),
            1 => fill.fail(oops()),
            2 | 3 => {
                let field = [("cache-control", "no-store")];
                assert_eq!(
                    declined(self.stage.answer(fill, 200, &field, None)),
                    Why::NoStore
                );
                self.remembered.insert(place.path, (asked.0, self.seconds));
                self.forget(stale);
            }
            4 => {
                assert_eq!(
                    declined(self.stage.answer(fill, 503, &[], None)),
                    Why::Status
                );
            }
            5..12 if stale.is_some() => return self.renew(fill, stale?, place, asked),
            _ => return Some(self.send(fill, place, asked)),
        }
        None
    }

    /// A 304, about what is stored or about something else.
    fn renew(
        &mut self,
        fill: Fill,
        stale: usize,
        place: Place,
        asked: (u64, u64),
    ) -> Option<FetchStage> {
        self.seen[5] += 1;
        let before = self.heads[stale].clone();
        let ours = self.dice.below(3) > 0;
        let tag = format!("\"{}\"", if ours { before.content } else { usize::MAX });
        let head = Head {
            asked: asked.0,
            asked_at: asked.1,
            arrived: self.step,
            ..before
        };
        let number = self.heads.len().to_string();
        let fields = [("etag", tag.as_str()), ("x-head", number.as_str())];
        let gone = self.is_purged_for_good(&self.heads[stale]);
        match self.stage.answer(fill, 304, &fields, None) {
            Decision::Done(Verdict::Refreshed) => {
                assert!(ours && !gone);
                self.heads.push(head);
                self.keep(place, self.heads.len() - 1);
                None
            }
            Decision::Done(Verdict::Again(fill)) => {
                assert!(!ours || gone);
                self.forget(Some(stale));
                Some(FetchStage::Waiting(fill, None))
            }
            other => panic!("{other:?}"),
        }
    }

    fn send(&mut self, fill: Fill, place: Place, asked: (u64, u64)) -> FetchStage {
        let bytes = match self.dice.below(10) {
            0 => 0,
            1 => 300_000 + self.dice.below(400_000),
            _ => 1 + self.dice.below(20_000),
        };
        let content = self.contents.len();
        let bytes = body(self.dice.roll(), bytes as usize);
        let announced = (self.dice.below(2) == 0).then_some(bytes.len() as u64);
        let head = Head {
            content,
            place,
            asked: asked.0,
            asked_at: asked.1,
            arrived: self.step,
            lifetime: self.dice.below(40),
            tag: self.dice.below(2),
            etag: self.dice.below(4) > 0,
        };
        let max_age = format!("max-age={}", head.lifetime);
        let (tag, etag) = (format!("t{}", head.tag), format!("\"{content}\""));
        let (number, of_body) = (self.heads.len().to_string(), content.to_string());
        let mut fields = vec![
            ("cache-control", max_age.as_str()),
            ("surrogate-key", &tag),
            ("x-head", &number),
            ("x-body", &of_body),
        ];
        if head.etag || head.lifetime == 0 {
            fields.push(("etag", &etag));
        }
        if place.varies() {
            fields.push(("vary", "x-v"));
        }
        let writer = self.stage.write(fill, &fields, announced);
        let etag = head.etag || head.lifetime == 0;
        self.heads.push(Head { etag, ..head });
        self.contents.push(Content {
            bytes,
            whole: false,
        });
        FetchStage::Writing {
            writer,
            head: self.heads.len() - 1,
            sent: 0,
        }
    }

    fn pour(&mut self, mut writer: Writer, head: usize, sent: usize) -> Option<FetchStage> {
        let content = &mut self.contents[self.heads[head].content];
        if self.dice.below(20) == 0 {
            drop(writer);
            return None;
        }
        if sent == content.bytes.len() {
            content.whole = true;
            writer.finish().unwrap();
            self.keep(self.heads[head].place, head);
            return None;
        }
        let most = [500, 10_000, 500_000][self.dice.below(3) as usize];
        let end = content
            .bytes
            .len()
            .min(sent + 1 + self.dice.below(most) as usize);
        let piece = Bytes::copy_from_slice(&content.bytes[sent..end]);
        assert!(at_once(writer.push(piece)), "a kept fill never stops");
        Some(FetchStage::Writing {
            writer,
            head,
            sent: end,
        })
    }

    /// What the engine must have stored now.
    fn keep(&mut self, place: Place, head: usize) {
        let place = Place {
            variant: if place.varies() { place.variant } else { 0 },
            ..place
        };
        let before = self.stored.get(&place);
        if before.is_none_or(|before| self.heads[*before].asked <= self.heads[head].asked) {
            self.stored.insert(place, head);
        }
    }

    fn forget(&mut self, head: Option<usize>) {
        self.stored.retain(|_, stored| Some(*stored) != head);
    }

    fn carry_a_reader(&mut self) {
        if self.followers.is_empty() {
            return;
        }
        let at = self.dice.below(self.followers.len() as u64) as usize;
        let follower = self.followers.swap_remove(at);
        if let Some(follower) = self.carry(follower) {
            self.followers.push(follower);
        }
    }

    fn drop_a_reader(&mut self) {
        if !self.followers.is_empty() {
            let at = self.dice.below(self.followers.len() as u64) as usize;
            self.followers.swap_remove(at);
        }
    }

    /// Lets every reader go as far as it can.
    fn settle(&mut self) {
        for follower in std::mem::take(&mut self.followers) {
            let mut left = Some(follower);
            for _ in 0..4 {
                left = left.and_then(|follower| self.carry(follower));
            }
            self.followers.extend(left);
        }
    }

    fn carry(&mut self, follower: Follower) -> Option<Follower> {
        let Follower {
            place,
            came,
            came_at,
            leads,
            stage,
        } = follower;
        let stage = match stage {
            FollowerStage::Unresolved(reader) => {
                // Whether a head is there for it shows from a future that must
                // not wait; it is made anew each time, and loses no wakeup.
                let waiting = self.fetches.iter().any(|fetch| {
                    fetch.place.path == place.path && matches!(fetch.stage, FetchStage::Waiting(..))
                });
                if waiting {
                    return Some(Follower {
                        place,
                        came,
                        came_at,
                        leads,
                        stage: FollowerStage::Unresolved(reader),
                    });
                }
                let variant = place.variant.to_string();
                let fields = map(&[("x-v", &variant)]);
                let resolved = at_once(reader.resolve(&fields));
                self.resolved(resolved, place, came, came_at, leads)?
            }
            FollowerStage::Reading {
                reader,
                content,
                at,
            } => self.read_on(reader, content, at)?,
        };
        Some(Follower {
            place,
            came,
            came_at,
            leads,
            stage,
        })
    }

    fn resolved(
        &mut self,
        resolved: Resolved,
        place: Place,
        came: u64,
        came_at: u64,
        leads: bool,
    ) -> Option<FollowerStage> {
        match resolved {
            Resolved::Live(meta, reader) => {
                let head = self.head_of(&meta);
                assert!(head.place.fits(place));
                if !leads {
                    assert!(!self.is_purged(head, came), "purged before it came");
                    let early = head.arrived >= came;
                    assert!(early || self.is_fresh(head, came_at), "stale when it came");
                }
                let content = head.content;
                Some(FollowerStage::Reading {
                    reader,
                    content,
                    at: 0,
                })
            }
            Resolved::Stored(entry) => {
                let head = self.head_of(&entry.meta);
                assert!(
                    leads || !self.is_purged(head, came),
                    "purged before it came"
                );
                self.check_whole(&entry, place);
                None
            }
            Resolved::Elsewhere => {
                self.seen[6] += 1;
                assert!(!leads);
                None
            }
            Resolved::Declined(_) | Resolved::Failed(_) => None,
        }
    }

    fn read_on(&mut self, mut reader: Reader, content: usize, at: usize) -> Option<FollowerStage> {
        let held = &self.contents[content];
        match now_or_never(reader.next()) {
            Some(Ok(Some(bytes))) => {
                let end = at + bytes.len();
                assert!(bytes == held.bytes[at..end], "wrong bytes");
                Some(FollowerStage::Reading {
                    reader,
                    content,
                    at: end,
                })
            }
            Some(Ok(None)) => {
                self.seen[7] += 1;
                assert!(held.whole && at == held.bytes.len(), "cut short");
                None
            }
            Some(Err(Broken::Fetch(_))) => {
                assert!(!held.whole);
                None
            }
            Some(Err(Broken::TooSlow)) => panic!("kept, and too slow"),
            None => Some(FollowerStage::Reading {
                reader,
                content,
                at,
            }),
        }
    }

    fn purge(&mut self) {
        let path = PATHS[self.dice.below(4) as usize];
        let selector = match self.dice.below(8) {
            0 => Selector::Everything,
            1 => Selector::Host(HOST.into()),
            2 => Selector::Prefix {
                host: HOST.into(),
                path: "/img/".into(),
            },
            3 | 4 => Selector::Tag(format!("t{}", self.dice.below(2))),
            _ => url(path),
        };
        let mode = [Mode::Soft, Mode::Revalidate, Mode::Hard][self.dice.below(3) as usize];
        self.stage.purge(selector.clone(), mode);
        self.purges.push((self.step, selector, mode));
    }

    fn head_of(&self, meta: &Meta) -> &Head {
        &self.heads[index(meta, "x-head")]
    }

    fn check_whole(&self, entry: &Entry, place: Place) {
        let head = self.head_of(&entry.meta);
        assert!(
            head.place.fits(place),
            "{place:?} was given {:?}",
            head.place
        );
        assert_eq!(index(&entry.meta, "x-body"), head.content);
        let content = &self.contents[head.content];
        assert!(
            content.whole && stored(entry) == content.bytes,
            "wrong body"
        );
    }

    fn is_fresh(&self, head: &Head, at: u64) -> bool {
        at.saturating_sub(head.asked_at) < head.lifetime
    }

    /// Purged after its fetch began, by a purge up to the step `until`.
    fn is_purged(&self, head: &Head, until: u64) -> bool {
        self.purges.iter().any(|(step, selector, _)| {
            *step > head.asked
                && *step <= until
                && covers(selector, head.place.path, Some(head.tag))
        })
    }

    fn is_purged_for_good(&self, head: &Head) -> bool {
        self.purges.iter().any(|(step, selector, mode)| {
            *step > head.asked
                && *mode == Mode::Hard
                && covers(selector, head.place.path, Some(head.tag))
        })
    }
}

fn covers(selector: &Selector, path: usize, tag: Option<u64>) -> bool {
    match selector {
        Selector::Everything | Selector::Host(_) => true,
        Selector::Prefix { path: prefix, .. } => PATHS[path].starts_with(prefix.as_str()),
        Selector::Tag(named) => tag.is_some_and(|tag| *named == format!("t{tag}")),
        Selector::Url { target, .. } => PATHS[path] == target,
    }
}

fn index(meta: &Meta, field: &str) -> usize {
    meta.fields[field].to_str().unwrap().parse().unwrap()
}
