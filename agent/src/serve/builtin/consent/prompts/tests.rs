//! The table of prompts by itself: sharing, limits, silences.

use super::*;
use crate::serve::builtin::authentication::Caller;
use crate::serve::builtin::resource::Action;

fn act(user: &Arc<str>, text: &str) -> Act {
    Act {
        caller: Caller(Some(Arc::clone(user))),
        resource: "notes",
        action: Action::Add,
        content: vec![Detail {
            name: "title",
            text: text.to_owned(),
        }],
        asked: None,
    }
}

fn join(table: &Arc<Table>, user: &str, text: &str) -> Result<Ticket, Refusal> {
    join_for(table, user, text, Duration::from_secs(60))
}

fn join_for(table: &Arc<Table>, user: &str, text: &str, time: Duration) -> Result<Ticket, Refusal> {
    let user: Arc<str> = user.into();
    let until = Instant::now() + time;
    let act = act(&user, text);
    table.join(&user, (&act, Digest::of(&act.content)), until)
}

#[test]
fn r53_the_same_thing_is_one_prompt_as_long_as_somebody_waits() {
    let table = Table::new();
    let first = join(&table, "alice", "a").unwrap();
    let second = join(&table, "alice", "a").unwrap();
    let other = join(&table, "alice", "b").unwrap();
    let of_bob = join(&table, "bob", "a").unwrap();
    let waiting = |table: &Table| -> Vec<_> {
        let open = table.open();
        open.iter()
            .map(|open| (open.user.to_string(), open.waiting))
            .collect()
    };
    let told = |user: &str, waiting| (user.to_owned(), waiting);
    assert_eq!(
        waiting(&table),
        [told("alice", 2), told("alice", 1), told("bob", 1)]
    );
    drop(first);
    assert!(other.leave() && !other.leave());
    assert_eq!(waiting(&table), [told("alice", 1), told("bob", 1)]);
    drop((second, of_bob));
    assert_eq!(waiting(&table), []);
}

#[test]
fn r53_what_is_beyond_a_limit_is_refused_and_a_free_place_is_taken() {
    let table = Table::new();
    let mut tickets = Vec::new();
    for n in 0..PROMPTS_PER_USER_MAX {
        tickets.push(join(&table, "alice", &n.to_string()).unwrap());
    }
    assert_eq!(join(&table, "alice", "x").unwrap_err(), Refusal::TooMany);
    for _ in 1..WAITING_PER_PROMPT_MAX {
        tickets.push(join(&table, "alice", "0").unwrap());
    }
    assert_eq!(join(&table, "alice", "0").unwrap_err(), Refusal::TooMany);
    while tickets.len() < WAITING_PER_USER_MAX {
        tickets.push(join(&table, "alice", "1").unwrap());
    }
    assert_eq!(join(&table, "alice", "1").unwrap_err(), Refusal::TooMany);
    tickets.pop();
    tickets.push(join(&table, "alice", "1").unwrap());
    // The others still get their turn, up to as many as a screen may have.
    for n in table.open().len()..PROMPTS_MAX {
        tickets.push(join(&table, &format!("user {n}"), "a").unwrap());
    }
    assert_eq!(join(&table, "zoe", "a").unwrap_err(), Refusal::TooMany);
}

#[test]
fn r53_an_answer_that_was_not_kept_brings_the_prompt_back() {
    let table = Table::new();
    let first = join(&table, "alice", "a").unwrap();
    let second = join(&table, "alice", "a").unwrap();
    let id = table.open()[0].id;
    let taken = table.take(id).unwrap();
    assert!(table.take(id).is_none(), "one answer at a time");
    assert!(!first.leave(), "the answer is on its way");
    drop((taken, second));
    let open = table.open();
    assert_eq!(
        (open[0].id, open[0].waiting),
        (id, 1),
        "who left meanwhile waits no more"
    );
    assert!(first.leave());
    assert!(table.open().is_empty());
}

#[test]
fn r62_an_answer_that_was_not_kept_leaves_nobody_waiting_beyond_the_time() {
    let table = Table::new();
    let mut late = join_for(&table, "alice", "a", Duration::ZERO).unwrap();
    let taken = table.take(table.open()[0].id).unwrap();
    assert!(!late.leave(), "the answer is on its way");
    drop(taken);
    assert!(table.open().is_empty());
    let told = late.verdict.try_recv();
    assert!(matches!(told, Err(oneshot::error::TryRecvError::Closed)));
}

#[test]
fn r53_a_silence_ends_by_itself() {
    let table = Table::new();
    table.silence("alice", Moment::now().after(Duration::from_secs(60)));
    assert_eq!(join(&table, "alice", "a").unwrap_err(), Refusal::Silenced);
    table.silence("alice", Moment::now());
    assert!(table.silenced().is_empty());
    assert!(join(&table, "alice", "a").is_ok());
    assert!(!table.unsilence("alice"));
    let later = Moment::now().after(Duration::from_secs(60));
    for n in 0..=SILENCED_MAX {
        table.silence(&n.to_string(), Moment(later.0 + i64::try_from(n).unwrap()));
    }
    assert_eq!(table.silenced().len(), SILENCED_MAX);
    assert!(
        join(&table, "0", "a").is_ok(),
        "the one that ends first makes room"
    );
}
