//! What a user who is gone, and a caller who is gone, leave behind.

use tokio::time::timeout;

use super::*;
use crate::serve::builtin::consent::Gate;
use crate::serve::builtin::resource::ALL;

/// A gate with a user alice, and what it stands on.
async fn started(directory: &tempfile::TempDir) -> (Gate, Store) {
    let store = Store::open(&directory.path().join("db"), ALL).unwrap();
    let alice = "INSERT INTO users (name, hash, owned, created_s) VALUES ('alice', '', 1, 0)";
    changed(&store, alice).await;
    let config = ConsentConfig::default();
    let gate = Gate::start(&store, &Events::default(), &config).await;
    (gate.unwrap(), store)
}

async fn changed(store: &Store, sql: &'static str) {
    let run = store.run(move |db| Ok(db.connection().execute(sql, [])?));
    assert_eq!(run.await.unwrap(), 1, "{sql}");
}

fn act() -> Act {
    Act {
        caller: Caller(Some("alice".into())),
        resource: "notes",
        action: Action::Add,
        content: Vec::new(),
        asked: None,
    }
}

async fn lines(notifier: &Notifier) -> Vec<(bool, Option<String>)> {
    let page = notifier.audit_page(Filter::default(), i64::MAX, 10).await;
    let (lines, _) = page.unwrap();
    let told = |line: Told| (line.permitted, line.outcome);
    lines.into_iter().map(told).collect()
}

#[tokio::test]
async fn r66_nobody_is_asked_for_a_user_who_is_gone_and_nothing_is_permitted_to_one() {
    let directory = tempfile::tempdir().unwrap();
    let (gate, store) = started(&directory).await;
    let notifier = Arc::clone(gate.notifier().unwrap());
    let asking = Arc::clone(&notifier.prompts);
    let mut asked = notifier.prompt_changes();
    let permit = tokio::spawn({
        let gate = gate.clone();
        async move { gate.permit(act()).await.map(|permit| permit.done("done")) }
    });
    asked.changed().await.unwrap();
    // Another window takes the user away while this one answers.
    changed(&store, "DELETE FROM users").await;
    let prompt = asking.open()[0].id;
    let answered = notifier.answer(prompt, Answer::Always).await.unwrap();
    let denied = Answered {
        permitted: 0,
        denied: 1,
    };
    assert_eq!(answered, Some(denied));
    assert!(permit.await.unwrap().is_err());
    let (entries, _) = notifier.entries(None, 0, 10).await.unwrap();
    assert_eq!(entries, []);
    // Nor does a request that was on its way come to a prompt.
    assert!(gate.permit(act()).await.is_err());
    assert!(asking.open().is_empty());
    assert_eq!(lines(&notifier).await, [(false, None), (false, None)]);
}

#[tokio::test]
async fn r65_a_use_that_was_taken_for_a_caller_who_is_gone_is_told_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let (gate, store) = started(&directory).await;
    let notifier = gate.notifier().unwrap();
    let subject = Subject {
        user: "alice".to_owned(),
        resource: "notes".to_owned(),
        action: "add".to_owned(),
    };
    notifier.put(subject, Access::OneTime).await.unwrap();
    // The store is busy when the caller asks, and comes to it when the caller has gone.
    let (free, busy) = std::sync::mpsc::channel::<()>();
    let held = store.run(move |_| Ok(busy.recv().is_ok()));
    let mut held = Box::pin(held);
    assert!(timeout(Duration::ZERO, &mut held).await.is_err());
    let permit = timeout(Duration::ZERO, gate.permit(act())).await;
    assert!(permit.is_err(), "it waits for the store");
    free.send(()).unwrap();
    assert!(held.await.unwrap());
    let (entries, _) = notifier.entries(None, 0, 10).await.unwrap();
    assert_eq!(entries, [], "a use is not given back");
    let outcome = Some("ended without an outcome".to_owned());
    assert_eq!(lines(notifier).await, [(true, outcome)]);
}
