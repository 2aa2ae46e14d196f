//! Forward mode, linger 0: requests with data channels of their own share local connections, and nobody gets what belongs
//! to another.

mod support;

use support::local::{Local, forwarding, head};
use support::{Gateway, Signaling, soon};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A request that is the only one on its channel, as the gateway sends it to a handset with linger 0.
fn alone(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
}

/// Serves one such request over the local connection that is there.
async fn serve_alone(
    gateway: &Gateway,
    signaling: &mut Signaling,
    server: &mut BufReader<TcpStream>,
    path: &str,
) {
    signaling.signal().await;
    let (mut channel, _) = gateway.channel().await;
    channel.send(alone("GET", path).as_bytes()).await;
    assert_eq!(
        head(server).await,
        format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n"),
        "the word about its channel stays behind"
    );
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
        path.len()
    );
    server.get_mut().write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(channel.answer().await.body, path);
    assert!(channel.is_closed().await, "its channel served one request");
}

/// The first such request of a test: the local connection that serves it can serve others.
async fn first_alone(
    gateway: &Gateway,
    local: &Local,
    signaling: &mut Signaling,
) -> BufReader<TcpStream> {
    signaling.signal().await;
    let (mut channel, _) = gateway.channel().await;
    let mut server = local.accept().await;
    channel.send(alone("GET", "/0").as_bytes()).await;
    head(&mut server).await;
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    server.get_mut().write_all(answer).await.unwrap();
    assert_eq!(channel.answer().await.status, 204);
    assert!(channel.is_closed().await, "its channel served one request");
    server
}

#[tokio::test]
async fn requests_with_channels_of_their_own_share_a_local_connection_one_after_the_other() {
    let (gateway, local, _agent, mut signaling) = forwarding("").await;
    signaling.signal().await;
    let (channel, _) = gateway.channel().await;
    let mut server = local.accept().await;
    drop(channel);
    soon("the end", server.read_to_end(&mut Vec::new()))
        .await
        .unwrap();
    let mut server = first_alone(&gateway, &local, &mut signaling).await;
    for path in ["/1", "/2", "/3"] {
        serve_alone(&gateway, &mut signaling, &mut server, path).await;
    }
    // A server that serves one connection at a time is not kept from its other clients.
    soon(
        "the idle connection's end",
        server.read_to_end(&mut Vec::new()),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_shared_local_connection_that_ends_as_it_is_used_costs_nobody_an_answer() {
    let (gateway, local, _agent, mut signaling) = forwarding("").await;
    let mut server = first_alone(&gateway, &local, &mut signaling).await;
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    signaling.signal().await;
    let (mut channel, _) = gateway.channel().await;
    channel.send(alone("GET", "/1").as_bytes()).await;
    head(&mut server).await;
    drop(server);
    let mut server = local.accept().await;
    assert!(head(&mut server).await.starts_with("GET /1 "));
    server.get_mut().write_all(answer).await.unwrap();
    assert_eq!(channel.answer().await.status, 204);
}

#[tokio::test]
async fn what_cannot_be_sent_twice_gets_a_local_connection_of_its_own() {
    let (gateway, local, _agent, mut signaling) = forwarding("").await;
    let _first = first_alone(&gateway, &local, &mut signaling).await;
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    signaling.signal().await;
    let (mut channel, _) = gateway.channel().await;
    let request = alone("DELETE", "/1");
    channel.send(request.as_bytes()).await;
    let mut second = local.accept().await;
    assert_eq!(head(&mut second).await, request, "byte for byte");
    second.get_mut().write_all(answer).await.unwrap();
    drop(second);
    assert_eq!(channel.answer().await.status, 204);
}

#[tokio::test]
async fn what_a_server_sends_unasked_is_nobodys_answer() {
    let (gateway, local, _agent, mut signaling) = forwarding("").await;
    let mut server = first_alone(&gateway, &local, &mut signaling).await;
    signaling.signal().await;
    // The agent holds its local connection ready from here on.
    let (mut channel, _) = gateway.channel().await;
    let stray = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfor /0 yet";
    server.get_mut().write_all(stray).await.unwrap();
    channel.send(alone("GET", "/1").as_bytes()).await;
    let mut server = local.accept().await;
    assert!(head(&mut server).await.starts_with("GET /1 "));
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n/1";
    server.get_mut().write_all(answer).await.unwrap();
    assert_eq!(channel.answer().await.body, "/1");
}

#[tokio::test]
async fn a_server_that_answers_before_it_is_asked_is_not_asked_again_on_that_connection() {
    let (gateway, local, _agent, mut signaling) = forwarding("").await;
    signaling.signal().await;
    let (mut channel, _) = gateway.channel().await;
    let mut server = local.accept().await;
    let answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    server.get_mut().write_all(answer).await.unwrap();
    let request = alone("GET", "/0");
    channel.send(request.as_bytes()).await;
    assert_eq!(channel.answer().await.status, 503);
    assert_eq!(head(&mut server).await, request, "byte for byte");
    drop(channel);
    let mut rest = Vec::new();
    soon("its end", server.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_body_that_should_not_be_begins_no_other_answer() {
    let (gateway, local, _agent, mut signaling) = forwarding("").await;
    signaling.signal().await;
    let (mut channel, _) = gateway.channel().await;
    let mut server = local.accept().await;
    channel.send(alone("HEAD", "/0").as_bytes()).await;
    head(&mut server).await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
    server.get_mut().write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(head(&mut channel.stream).await, answer);
    // The gateway, which knows the method, has all of it.
    drop(channel);
    soon("its end", server.read_to_end(&mut Vec::new()))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_busy_local_connection_makes_room_for_others_in_time() {
    let (gateway, local, _agent, mut signaling) = forwarding("").await;
    let mut server = first_alone(&gateway, &local, &mut signaling).await;
    let busy = async {
        loop {
            signaling.signal().await;
            let (mut channel, _) = gateway.channel().await;
            channel.send(alone("GET", "/again").as_bytes()).await;
            let mut request = String::new();
            if server.read_line(&mut request).await.unwrap() == 0 {
                return;
            }
            head(&mut server).await;
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            server.get_mut().write_all(answer).await.unwrap();
            assert_eq!(channel.answer().await.status, 204);
            assert!(channel.is_closed().await);
        }
    };
    soon("its end, though it never rests", busy).await;
}
