//! The menu, and the pages of a resource: what they show, and what they ask of the handset.

use std::sync::Arc;

use everline_portal::{Catalogue, Entry, Field, Group, Icon, Kind, MenuEntry, Resource};
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::browser::{Setup, Site};
use crate::handset::{AUTHORIZATION, Order};

#[tokio::test]
async fn r67_the_menu_has_every_resource_state_item_and_service() {
    let site = Site::start().await;
    let page = site.browser().get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    page.says(&[
        "Contacts", "Notes", "Calendar", "Images", "Sounds", "Videos", "SMS", "MMS", "Emails",
    ]);
    page.says(&[
        "Incoming calls",
        "Outgoing calls",
        "Battery",
        "Coverage",
        "Ring mode",
    ]);
    page.says(&[
        "Make a call",
        "Divert calls",
        "Send SMS",
        "Send MMS",
        "Send email",
        "Take a photograph",
        "Record video",
    ]);
    assert_eq!(page.text.matches("class=\"name\"").count(), 21);
    assert_eq!(
        page.text.matches("Not available yet").count(),
        20,
        "what is not there leads nowhere"
    );
    page.says(&["href=\"/contacts\"", "href=\"/sign-in\""]);
}

#[tokio::test]
async fn r68_the_menu_asks_no_handset() {
    let site = Site::start().await;
    site.browser().get("/").await;
    let mut alice = site.alice().await;
    alice.get("/").await.says(&["+34600000001", "alice"]);
    assert_eq!(site.handset.seen().len(), 0);
}

#[tokio::test]
async fn r70_r78_a_pick_becomes_a_request_to_the_handset_of_this_number() {
    let site = Site::configured("domain = \"handsets.example\"").await;
    let mut alice = site.alice().await;
    alice.get("/contacts").await;
    let seen = site.handset.seen();
    let [request] = seen.as_slice() else {
        panic!("one request: {seen:?}")
    };
    assert_eq!(request.target, "/34600000001/contacts?limit=50");
    assert_eq!(request.method, Method::GET);
    assert_eq!(request.headers[header::HOST], "handsets.example");
    assert_eq!(request.headers[header::AUTHORIZATION], AUTHORIZATION);
    assert!(
        request.headers[header::ACCEPT]
            .to_str()
            .expect("text")
            .starts_with("application/json")
    );
    assert!(
        !request.headers.contains_key(header::COOKIE),
        "the portal's cookie is not the handset's business"
    );
}

#[tokio::test]
async fn r71_another_resource_is_another_description_and_nothing_else() {
    static NOTES: Resource = Resource {
        slug: "notes",
        title: "Notes",
        one: "note",
        icon: Icon::Notes,
        fields: &[
            Field {
                key: "name",
                label: "Title",
                required: true,
                chars_max: 80,
                kind: Kind::Line(Entry::Words),
            },
            Field {
                key: "text",
                label: "Text",
                required: false,
                chars_max: 900,
                kind: Kind::Text,
            },
        ],
    };
    const MENU: Catalogue = Catalogue(&[Group {
        title: "Personal data",
        about: "",
        entries: &[MenuEntry {
            slug: "notes",
            title: "Notes",
            about: "",
            icon: Icon::Notes,
            resource: Some(&NOTES),
        }],
    }]);
    let site = Site::with(Setup {
        catalogue: MENU,
        ..Setup::default()
    })
    .await;
    let mut alice = site.alice().await;
    alice.get("/").await.says(&["href=\"/notes\""]);
    alice
        .get("/notes")
        .await
        .says(&["There are no notes in this handset yet."]);
    let page = alice
        .act(
            "/notes/add",
            "/notes/add",
            &[("name", "Milk"), ("text", "two\r\nbottles")],
        )
        .await;
    page.says(&["Note added", "Milk"]);
    assert_eq!(site.handset.items("notes")[0]["text"], "two\nbottles");
    alice.get("/notes").await.says(&["Milk", "two\nbottles"]);
    alice
        .act("/notes/delete?id=1", "/notes/delete", &[])
        .await
        .says(&["Note deleted", "Milk"]);
    assert_eq!(site.handset.items("notes"), [Value::Null; 0]);
}

#[tokio::test]
async fn r72_contacts_are_shown_with_both_stores_and_page_by_page() {
    let site = Site::configured("[limits]\npage_items = 2").await;
    crate::handset::sample(&site.handset);
    let mut alice = site.alice().await;
    let first = alice.get("/contacts").await;
    first.says(&[
        "Ada Lovelace",
        "+34 600 123 456",
        "ada@example.com",
        "Analytical Engines",
        "Birthday: 10 December",
    ]);
    first.says(&[
        "Blaise Pascal",
        "SIM card",
        "Phone",
        "href=\"/contacts?after=2\"",
    ]);
    assert!(!first.text.contains("Grace Hopper"));
    let second = alice.get("/contacts?after=2").await;
    second.says(&[
        "Grace Hopper",
        "مريم الأسطرلابي",
        "From the beginning",
        "href=\"/contacts?after=4\"",
    ]);
    let last = alice.get("/contacts?after=4").await;
    assert!(!last.text.contains("More contacts"));
    assert!(
        site.handset.seen()[1]
            .target
            .ends_with("/contacts?limit=2&after=2")
    );
}

#[tokio::test]
async fn r72_r75_a_contact_is_added_as_the_api_wants_it_and_the_page_after_can_be_loaded_again() {
    let site = Site::start().await;
    let mut alice = site.alice().await;
    let typed = [
        ("name", "Ada Lovelace"),
        ("phones.0.type", "work"),
        ("phones.0.number", "+34600123456"),
        ("emails.0.type", "home"),
        ("emails.0.address", "ada@example.com"),
        ("organization", ""),
        ("id", "99"),
    ];
    let reply = alice.fill("/contacts/add", "/contacts/add", &typed).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    for _ in 0..3 {
        let page = alice.get(reply.location()).await;
        assert_eq!(page.status, StatusCode::OK);
        page.says(&["Contact added", "Ada Lovelace", "href=\"/contacts\""]);
    }
    let seen = site.handset.seen();
    let [request] = seen.as_slice() else {
        panic!("one request: {seen:?}")
    };
    assert_eq!(
        (request.method.clone(), request.target.as_str()),
        (Method::POST, "/34600000001/contacts")
    );
    assert_eq!(request.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(
        serde_json::from_slice::<Value>(&request.body).expect("JSON"),
        json!({
            "name": "Ada Lovelace",
            "phones": [{"type": "work", "number": "+34600123456"}],
            "emails": [{"type": "home", "address": "ada@example.com"}],
        })
    );
}

#[tokio::test]
async fn r75_the_same_form_sent_twice_is_one_action_and_a_changed_one_is_another() {
    let site = Site::start().await;
    let mut alice = site.alice().await;
    let page = alice.get("/contacts/add").await;
    let inputs = page.form("/contacts/add", &[("name", "Ada")]);
    let first = alice.post("/contacts/add", &inputs).await;
    let second = alice.post("/contacts/add", &inputs).await;
    assert_eq!(first.location(), second.location());
    assert_eq!(site.handset.items("contacts").len(), 1);
    let changed = page.form("/contacts/add", &[("name", "Grace")]);
    alice.post("/contacts/add", &changed).await;
    assert_eq!(site.handset.items("contacts").len(), 2);
}

#[tokio::test]
async fn r75_deleting_asks_first_tells_after_and_a_second_time_is_told_as_such() {
    let site = Site::start().await;
    let id = site
        .handset
        .put("contacts", json!({"name": "Ada Lovelace"}));
    let mut alice = site.alice().await;
    let page = format!("/contacts/delete?id={id}");
    let question = alice.get(&page).await;
    question.says(&["Delete this contact?", "Ada Lovelace", "Keep it"]);
    assert_eq!(
        site.handset.items("contacts").len(),
        1,
        "asking deletes nothing"
    );
    let once = question.form("/contacts/delete", &[]);
    let told = alice.post("/contacts/delete", &once).await;
    alice
        .get(told.location())
        .await
        .says(&["Contact deleted", "Ada Lovelace"]);
    // Another window still had the same question open.
    let mut again = question.form("/contacts/delete", &[]);
    again.push(("window".to_owned(), "other".to_owned()));
    let told = alice.post("/contacts/delete", &again).await;
    let told = alice.get(told.location()).await;
    assert_eq!(told.status, StatusCode::NOT_FOUND);
    told.says(&["Already deleted", "Ada Lovelace"]);
    let question = alice.get(&page).await;
    assert_eq!(question.status, StatusCode::NOT_FOUND);
    question.says(&["Not there any more"]);
}

#[tokio::test]
async fn r75_an_action_goes_on_when_the_browser_goes_away_and_a_page_tells_that_it_is_under_way() {
    let site = Site::start().await;
    let mut alice = site.alice().await;
    let told = Arc::new(Notify::new());
    let inputs = alice
        .get("/contacts/add")
        .await
        .form("/contacts/add", &[("name", "Ada")]);
    site.handset.order(Some(Order::WaitFor(Arc::clone(&told))));
    let (mut gone, sent) = (alice.clone(), inputs.clone());
    let gone = tokio::spawn(async move { gone.post("/contacts/add", &sent).await });
    site.handset.saw(1).await;
    gone.abort();
    let reply = alice.post("/contacts/add", &inputs).await;
    let waiting = alice.get(reply.location()).await;
    waiting.says(&["The handset is at work"]);
    assert_eq!(waiting.headers[header::REFRESH], "2");
    site.handset.order(None);
    told.notify_waiters();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while !alice
        .get(reply.location())
        .await
        .text
        .contains("Contact added")
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the outcome never came"
        );
        tokio::task::yield_now().await;
    }
    assert_eq!(site.handset.items("contacts").len(), 1);
}

#[tokio::test]
async fn a_form_that_can_not_be_sent_comes_back_with_what_was_typed() {
    let site = Site::start().await;
    let mut alice = site.alice().await;
    let typed = [("name", "  "), ("organization", "Analytical \"Engines\"")];
    let page = alice.fill("/contacts/add", "/contacts/add", &typed).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.says(&[
        "Name is needed.",
        "Analytical &quot;Engines&quot;",
        "aria-invalid=\"true\"",
    ]);
    assert_eq!(site.handset.seen().len(), 0);
}

#[tokio::test]
async fn what_was_typed_outlives_a_failure() {
    let site = Site::start().await;
    let mut alice = site.alice().await;
    let page = alice
        .act(
            "/contacts/add",
            "/contacts/add",
            &[("name", "Full"), ("note", "kept")],
        )
        .await;
    assert_eq!(page.status, StatusCode::INSUFFICIENT_STORAGE);
    page.says(&[
        "Contact not added",
        "Store full: No room on &lt;this&gt; SIM &amp; phone",
    ]);
    let start = page
        .text
        .find("/contacts/add?of=")
        .expect("a way to try again");
    let again = page.text[start..]
        .split('"')
        .next()
        .expect("a link")
        .to_owned();
    alice
        .get(&again)
        .await
        .says(&["value=\"Full\"", "kept</textarea>"]);
    let inputs = alice
        .get(&again)
        .await
        .form("/contacts/add", &[("name", "Full")]);
    for _ in 0..2 {
        site.handset.forget();
        alice.post("/contacts/add", &inputs).await;
        assert_eq!(
            site.handset.seen().len(),
            1,
            "what failed may be tried again, with the very same form"
        );
    }
}

#[tokio::test]
async fn what_leads_nowhere_is_a_page() {
    let site = Site::start().await;
    let mut browser = site.browser();
    for (target, words) in [
        ("/notes", "Notes: not available yet"),
        ("/send-sms", "Send SMS: not available yet"),
        ("/nothing", "Nothing here"),
        ("/contacts/a/b/c", "Nothing here"),
        ("/assets/none.js", "Nothing here"),
    ] {
        let page = browser.get(target).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{target}");
        page.says(&[words]);
    }
    let page = browser
        .send(Method::DELETE, "/contacts", "", String::new())
        .await;
    assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(browser.get("/healthz").await.text, "ok\n");
    let mut alice = site.alice().await;
    let page = alice
        .get("/contacts/outcome?of=AAAAAAAAAAAAAAAAAAAAAA")
        .await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    page.says(&["That was too long ago"]);
}
