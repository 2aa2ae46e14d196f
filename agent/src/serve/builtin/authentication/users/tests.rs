//! What the owner and the configuration say of users, in turns and at once.

use std::path::Path;

use super::super::super::resource::ALL;
use super::*;

const KEPT: Kept = Kept {
    sha256: true,
    md5: false,
};

fn configured(name: &str, password: &str) -> Configured {
    Configured {
        name: name.to_owned(),
        secret: Secret::Password(password.to_owned()),
    }
}

async fn open(directory: &Path, configured: &[Configured], kept: Kept) -> Users {
    let store = Store::open(&directory.join("db"), ALL).unwrap();
    Users::open(&store, configured.to_vec(), kept)
        .await
        .unwrap()
}

fn has(users: &Users, name: &str, password: &str) -> bool {
    let user = users.named(name);
    user.is_some_and(|user| user.hash.verify(password.as_bytes()))
}

#[tokio::test]
async fn r49_the_owner_adds_changes_and_removes_users() {
    let dir = tempfile::tempdir().unwrap();
    let users = open(dir.path(), &[], KEPT).await;
    assert!(users.is_empty());
    for name in ["", "a:b", " a", "a\n", &"x".repeat(NAME_CHARS_MAX + 1)] {
        let refused = users.add(name, "long enough").await;
        assert!(matches!(refused, Err(ChangeError::BadName)), "{name:?}");
    }
    let short = users.add("zoë", "seven77").await;
    assert!(matches!(short, Err(ChangeError::BadPassword)));
    users.add("zoë", "long enough").await.unwrap();
    let again = users.add("zoë", "long enough").await;
    assert!(matches!(again, Err(ChangeError::Taken)));
    users.set_password("zoë", "another one").await.unwrap();
    assert!(has(&users, "zoë", "another one") && !has(&users, "zoë", "long enough"));
    let hidden = Name::Hashed(Algorithm::Sha256.of_name("zoë", users.realm()));
    assert!(users.answering(&hidden, Algorithm::Sha256).is_some());
    users.set_disabled("zoë", true).await.unwrap();
    assert!(users.named("zoë").is_none());
    assert!(users.answering(&hidden, Algorithm::Sha256).is_none());
    drop(users);
    let users = open(dir.path(), &[], KEPT).await;
    assert!(
        users
            .list()
            .iter()
            .all(|user| user.disabled && user.owned && user.digest)
    );
    users.set_disabled("zoë", false).await.unwrap();
    assert!(has(&users, "zoë", "another one"));
    users.delete("zoë").await.unwrap();
    assert!(matches!(
        users.delete("zoë").await,
        Err(ChangeError::Unknown)
    ));
    assert!(matches!(users.unlock("zoë"), Err(ChangeError::Unknown)));
}

/// The owner's browser is closed while the change is made.
#[tokio::test]
async fn r49_a_change_that_was_begun_counts_though_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let users = open(dir.path(), &[], KEPT).await;
    for name in ["alice", "bob"] {
        users.add(name, "long enough").await.unwrap();
    }
    // Something that the database does first, so that both changes are still to be made when nobody waits any more.
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let busy = users.store.run(move |_database| {
        let _ = wait.recv();
        Ok(())
    });
    let mut busy = Box::pin(busy);
    assert!(begun(&mut busy).await);
    assert!(begun(&mut Box::pin(users.delete("alice"))).await);
    drop(go_on);
    busy.await.unwrap();
    // The next change waits for the one before.
    users.set_disabled("bob", true).await.unwrap();
    assert!(users.named("alice").is_none(), "a deleted user can't call");
    assert_eq!(users.list().len(), 1);
}

/// Lets a future begin; whether it is still under way.
async fn begun<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
    })
    .await
}

#[tokio::test]
async fn r49_what_the_owner_changed_stays_and_what_the_configuration_changes_counts() {
    let dir = tempfile::tempdir().unwrap();
    let said = [
        configured("alice", "one"),
        configured("bob", "two"),
        configured("carol", "three"),
    ];
    let users = open(dir.path(), &said, KEPT).await;
    users.set_password("alice", "the owner's").await.unwrap();
    users.delete("bob").await.unwrap();
    drop(users);
    let users = open(dir.path(), &said, KEPT).await;
    assert!(has(&users, "alice", "the owner's") && has(&users, "carol", "three"));
    assert!(users.named("bob").is_none(), "deleted is deleted");
    drop(users);
    // Taken out of the configuration: the owner's goes on, the other one goes.
    let users = open(dir.path(), &[configured("bob", "new")], KEPT).await;
    assert!(has(&users, "alice", "the owner's") && has(&users, "bob", "new"));
    assert!(users.named("carol").is_none());
}

#[tokio::test]
async fn r47_what_digest_needs_is_kept_only_while_it_is_on() {
    let dir = tempfile::tempdir().unwrap();
    let said = [configured("alice", "one")];
    let digest = |users: &Users| users.named("alice").unwrap().kept(Algorithm::Sha256);
    let off = Kept::default();
    let first = open(dir.path(), &said, KEPT).await;
    assert!(digest(&first).is_some());
    assert!(digest(&open(dir.path(), &said, off).await).is_none());
    let again = open(dir.path(), &said, KEPT).await;
    assert_eq!(again.realm(), first.realm(), "it stays");
    let kept = Algorithm::Sha256.of_password("alice", again.realm(), "one");
    assert_eq!(digest(&again).as_deref(), Some(&*kept));
    // On another handset the same password is kept as something else.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = open(elsewhere.path(), &said, KEPT).await;
    assert_ne!(digest(&other).as_deref(), Some(&*kept));
}
