//! The access list's table by itself: kinds, precedence, expiry, limits.

use super::*;

const NOW: Moment = Moment(1_000_000);

fn opened() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection.execute_batch(log::SCHEMA).unwrap();
    connection
}

fn subject(resource: &str, action: &str) -> Subject {
    Subject {
        user: "alice".to_owned(),
        resource: resource.to_owned(),
        action: action.to_owned(),
    }
}

fn contacts_list(connection: &Connection, now: i64) -> Option<Kind> {
    take(connection, Moment(now), ("alice", "contacts", "list")).unwrap()
}

#[test]
fn r65_each_kind_of_access_says_what_its_name_says() {
    let cases: [(Access, [Option<Kind>; 3]); 6] = [
        (Access::Unlimited, [Some(Kind::Unlimited); 3]),
        (
            Access::Temporary(Moment(2_000_000)),
            [Some(Kind::Temporary), Some(Kind::Temporary), None],
        ),
        (
            Access::NumberOfTimes(2),
            [Some(Kind::NumberOfTimes), Some(Kind::NumberOfTimes), None],
        ),
        (Access::OneTime, [Some(Kind::OneTime), None, None]),
        (Access::OnceDenied, [Some(Kind::OnceDenied), None, None]),
        (
            Access::PermanentlyDenied,
            [Some(Kind::PermanentlyDenied); 3],
        ),
    ];
    for (access, told) in cases {
        let connection = opened();
        put(&connection, NOW, &subject("contacts", "list"), access).unwrap();
        let times = [NOW.0, 1_999_999, 2_000_000];
        assert_eq!(
            times.map(|now| contacts_list(&connection, now)),
            told,
            "{access:?}"
        );
        assert_eq!(
            take(&connection, NOW, ("bob", "contacts", "list")).unwrap(),
            None
        );
        assert_eq!(
            take(&connection, NOW, ("alice", "contacts", "add")).unwrap(),
            None
        );
        assert_eq!(
            take(&connection, NOW, ("alice", "notes", "list")).unwrap(),
            None
        );
    }
}

#[test]
fn r65_the_most_specific_entry_counts_while_it_lasts() {
    let connection = opened();
    let put = |resource, action, access| {
        put(&connection, NOW, &subject(resource, action), access).unwrap()
    };
    put(ANY, ANY, Access::PermanentlyDenied);
    assert_eq!(
        contacts_list(&connection, NOW.0),
        Some(Kind::PermanentlyDenied)
    );
    put(ANY, "list", Access::Unlimited);
    assert_eq!(contacts_list(&connection, NOW.0), Some(Kind::Unlimited));
    put("contacts", ANY, Access::PermanentlyDenied);
    assert_eq!(
        contacts_list(&connection, NOW.0),
        Some(Kind::PermanentlyDenied)
    );
    put("contacts", "list", Access::OneTime);
    assert_eq!(contacts_list(&connection, NOW.0), Some(Kind::OneTime));
    assert_eq!(
        contacts_list(&connection, NOW.0),
        Some(Kind::PermanentlyDenied)
    );
}

#[test]
fn r66_entries_are_added_changed_listed_and_deleted() {
    let connection = opened();
    let contacts = subject("contacts", "list");
    let (entry, new) = put(&connection, NOW, &contacts, Access::Unlimited).unwrap();
    assert!(new);
    let (again, new) = put(&connection, NOW, &contacts, Access::NumberOfTimes(3)).unwrap();
    assert_eq!((again.id, again.uses_left, new), (entry.id, Some(3), false));
    let until = Access::Temporary(Moment(NOW.0 + 1));
    let changed = change(&connection, NOW, entry.id, until).unwrap().unwrap();
    assert_eq!((changed.kind, changed.uses_left), (Kind::Temporary, None));
    assert!(!changed.is_expired(NOW) && changed.is_expired(Moment(NOW.0 + 1)));
    put(
        &connection,
        NOW,
        &subject("notes", "list"),
        Access::Unlimited,
    )
    .unwrap();
    let (first, more) = list(&connection, Some("alice"), 0, 1).unwrap();
    assert_eq!((first, more), (vec![changed], true));
    assert_eq!(list(&connection, Some("bob"), 0, 9).unwrap().0, []);
    // What expired is shown for a day, and is gone with the next change.
    let later = Moment(NOW.0 + 2 + EXPIRED_SHOWN_MS);
    put(
        &connection,
        later,
        &subject("notes", "list"),
        Access::Unlimited,
    )
    .unwrap();
    assert_eq!(list(&connection, None, 0, 9).unwrap().0.len(), 1);
    assert!(!delete(&connection, entry.id).unwrap());
    assert!(
        change(&connection, NOW, entry.id, Access::Unlimited)
            .unwrap()
            .is_none()
    );
    forget_user(&connection, "alice").unwrap();
    assert_eq!(list(&connection, None, 0, 9).unwrap().0, []);
}

#[test]
fn r66_what_the_configuration_grants_does_not_come_back() {
    let connection = opened();
    let contacts = subject("contacts", ANY);
    let granted = || grant(&connection, NOW, &contacts, Access::Unlimited).unwrap();
    granted();
    let (entries, _) = list(&connection, None, 0, 9).unwrap();
    assert_eq!(entries.len(), 1);
    assert!(delete(&connection, entries[0].id).unwrap());
    granted();
    assert_eq!(list(&connection, None, 0, 9).unwrap().0, []);
}

#[test]
fn r65_a_full_list_refuses_and_still_changes() {
    let connection = opened();
    let row = "INSERT INTO access (user, resource, action, kind, since)
        WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1) SELECT n, '*', '*', 'unlimited', 0 FROM n";
    connection.execute(row, [ENTRIES_MAX]).unwrap();
    let refused = put(
        &connection,
        NOW,
        &subject("contacts", "list"),
        Access::Unlimited,
    );
    assert!(matches!(refused, Err(StoreError::Full)));
    let mut known = subject(ANY, ANY);
    "7".clone_into(&mut known.user);
    assert!(!put(&connection, NOW, &known, Access::OneTime).unwrap().1);
}
