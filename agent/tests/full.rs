//! A handset that is full: what comes meanwhile is not lost, and nothing that is told gets longer than memory: R24, R26, R31.

mod support;

use support::inside::{Inside, OPEN, QUICK};
use support::{Agent, Gateway, soon};

/// A GIF of one pixel, and so many bytes behind it.
fn picture(bytes: usize) -> String {
    let mut picture = "GIF89a\u{1}\0\u{1}\0\0\0\0".to_owned();
    picture.push_str(&"x".repeat(bytes));
    picture
}

async fn fill(handset: &Inside) -> Vec<String> {
    let mut urls = Vec::new();
    for bytes in [1_000_000, 40_000, 4_000, 400, 40, 4, 0] {
        for _ in 0..20 {
            let gif = "Content-Type: image/gif\r\n";
            let added = handset.send("POST /images", gif, &picture(bytes)).await;
            match added.status {
                201 => urls.push(added.header("location").to_owned()),
                status => {
                    assert_eq!(status, 507, "{}", added.body);
                    break;
                }
            }
        }
    }
    urls
}

async fn texts(handset: &Inside) -> Vec<String> {
    let list = handset.get("/sms").await.json();
    let texts = list["sms"].as_array().unwrap().iter();
    texts
        .map(|sms| sms["text"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn r24_r26_what_comes_to_a_full_handset_waits_until_there_is_room() {
    let config = OPEN.replace("[builtin]\n", "[builtin]\ncontent_bytes_max = 1048576\n");
    let handset = Inside::start(&format!("{config}{QUICK}")).await;
    let pictures = fill(&handset).await;
    let long = "long ".repeat(60);
    for text in ["first", &long] {
        assert!(handset.device.receive_sms("600123456", text).unwrap());
    }
    let email = b"From: a@example.com\r\nSubject: third\r\n\r\nHi".to_vec();
    assert!(handset.device.receive_email(email));
    // What the owner does comes behind it: once it shows, the messages were taken.
    handset.device.receive_call(None);
    handset
        .becomes("/incoming-calls", |list| {
            list["incoming-calls"][0].is_object()
        })
        .await;
    assert!(
        texts(&handset).await.is_empty(),
        "there is no room for them"
    );

    // Not even the end of the agent takes them.
    let handset = handset.restart().await;
    assert!(texts(&handset).await.is_empty());
    for url in pictures {
        assert_eq!(
            handset.send(&format!("DELETE {url}"), "", "").await.status,
            204
        );
    }
    handset
        .becomes("/emails", |list| list["emails"][0]["subject"] == "third")
        .await;
    handset
        .becomes("/sms", |list| list["sms"][1].is_object())
        .await;
    assert_eq!(texts(&handset).await, ["first", long.as_str()]);
    // Once each.
    let again = handset.restart().await;
    assert_eq!(texts(&again).await.len(), 2);
}

#[tokio::test]
async fn r18_a_card_that_is_longer_than_a_body_comes_out_with_its_picture() {
    let gateway = Gateway::start().await;
    let config = OPEN.replace("[builtin]\n", "[builtin]\nimport = [\"cards.vcf\"]\n");
    let mut agent = Agent::prepare(&[&gateway], &config);
    let card = |name: &str, pictures: usize| {
        let picture = format!("PHOTO;ENCODING=b;TYPE=JPEG:{}\r\n", "AAAA".repeat(400_000));
        format!(
            "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:{name}\r\n{}END:VCARD\r\n",
            picture.repeat(pictures)
        )
    };
    let file = card("Ada", 1) + &card("Bob", 3);
    std::fs::write(agent.path("cards.vcf"), file).unwrap();
    agent.run();
    let mut signaling = gateway.registered().await;
    let told = gateway
        .get(&mut signaling, "/contacts/1", "Accept: text/vcard\r\n")
        .await;
    assert_eq!(told.status, 200);
    assert!(
        told.body.contains("PHOTO:data:image/jpeg"),
        "the picture is there"
    );
    // One that is too long to be told whole is told at start, and not cut.
    let none = gateway.get(&mut signaling, "/contacts/2", "").await;
    assert_eq!(none.status, 404);
    assert!(agent.log().contains("cards.vcf:"), "{}", agent.log());
    assert!(agent.log().contains("are the most"));
}

#[tokio::test]
async fn r17_r23_a_film_that_there_is_no_room_for_is_refused_before_it_is_sent() {
    let config = OPEN.replace("[builtin]\n", "[builtin]\ncontent_bytes_max = 1048576\n");
    let handset = Inside::start(&config).await;
    let mut channel = handset.connect().await;
    let head = "POST /videos HTTP/1.1\r\nHost: h\r\nContent-Type: video/mp4\r\nContent-Length: 500000000\r\n\r\n";
    channel.send(head.as_bytes()).await;
    let refused = soon("an answer without a film", channel.head()).await;
    assert_eq!(refused.status, 507);
}
