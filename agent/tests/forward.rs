//! Forward mode: a data channel's bytes go to a local web server and back, unchanged, both ways at once.

mod support;

use std::io;

use support::local::{Local, forwarding, head};
use support::{Channel, Gateway, Signaling, soon, until};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

async fn open(
    gateway: &Gateway,
    local: &Local,
    signaling: &mut Signaling,
) -> (Channel, BufReader<TcpStream>) {
    signaling.signal().await;
    let (channel, _) = gateway.channel().await;
    (channel, local.accept().await)
}

#[tokio::test]
async fn r6_r9_requests_and_answers_pass_unchanged() {
    let (gateway, local, _agent, mut signaling) = forwarding("").await;
    let (mut channel, mut server) = open(&gateway, &local, &mut signaling).await;
    let request = "PROPFIND /x HTTP/1.1\r\nhOsT: 34600000001.localhost:8080\r\nX-Odd:  two  \r\nX-Forwarded-Prefix: /1\r\n\r\n";
    channel.send(request.as_bytes()).await;
    assert_eq!(head(&mut server).await, request);
    let answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 207 Odd  One\r\nTransfer-Encoding: chunked\r\n\
        Trailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n";
    server.get_mut().write_all(answer).await.unwrap();
    drop(server);
    let mut passed = Vec::new();
    soon("the answer", channel.stream.read_to_end(&mut passed))
        .await
        .unwrap();
    assert_eq!(passed, answer);
}

#[tokio::test]
async fn a_large_body_passes_both_ways_in_bounded_memory() {
    const BYTES: usize = 256 * 1024 * 1024;
    let (gateway, local, agent, mut signaling) = forwarding("").await;
    let (mut channel, mut server) = open(&gateway, &local, &mut signaling).await;
    channel
        .send(format!("PUT /big HTTP/1.1\r\nHost: h\r\nContent-Length: {BYTES}\r\n\r\n").as_bytes())
        .await;
    let before = agent.memory_peak_kib();
    let upload = async {
        let (mut sent, mut sum) = (0, 0u64);
        let mut block = vec![0; 64 * 1024];
        while sent < BYTES {
            // Differs from block to block, so that one which is lost or doubled shows.
            block.fill(u8::try_from(sent / (64 * 1024) % 251).unwrap());
            sum = block.iter().fold(sum, |sum, b| {
                sum.wrapping_mul(31).wrapping_add(u64::from(*b))
            });
            channel.stream.get_mut().write_all(&block).await?;
            sent += block.len();
        }
        io::Result::Ok((channel, sum))
    };
    let swallow = async {
        head(&mut server).await;
        let start =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\nConnection: close\r\n\r\n");
        server.get_mut().write_all(start.as_bytes()).await?;
        let (mut left, mut sum) = (BYTES, 0u64);
        let mut block = vec![0; 64 * 1024];
        while left > 0 {
            server.read_exact(&mut block).await?;
            sum = block.iter().fold(sum, |sum, b| {
                sum.wrapping_mul(31).wrapping_add(u64::from(*b))
            });
            left -= block.len();
        }
        io::Result::Ok((server, sum))
    };
    let (sent, got) = tokio::join!(upload, swallow);
    let ((mut channel, sent), (mut server, got)) = (sent.unwrap(), got.unwrap());
    assert_eq!(sent, got);
    let download = async {
        let block = vec![7; 64 * 1024];
        for _ in 0..BYTES / block.len() {
            server.get_mut().write_all(&block).await?;
        }
        drop(server);
        io::Result::Ok(())
    };
    let receive = async {
        let mut all = 0;
        let mut block = vec![0; 64 * 1024];
        loop {
            match channel.stream.read(&mut block).await? {
                0 => return io::Result::Ok(all),
                count => all += count,
            }
        }
    };
    let (sent, received) = tokio::join!(download, receive);
    sent.unwrap();
    assert!(received.unwrap() > BYTES, "the body and the head before it");
    let grown = agent.memory_peak_kib() - before;
    assert!(grown < 4 * 1024, "the agent grew by {grown} KiB");
}

#[tokio::test]
async fn an_event_stream_passes_event_by_event() {
    let (gateway, local, _agent, mut signaling) = forwarding("").await;
    let (mut channel, mut server) = open(&gateway, &local, &mut signaling).await;
    channel
        .send(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    head(&mut server).await;
    let start = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    server.get_mut().write_all(start.as_bytes()).await.unwrap();
    assert_eq!(head(&mut channel.stream).await, start);
    for n in 0..100 {
        // Each event is received before the next one is sent.
        let event = format!("data: {n}\n");
        server.get_mut().write_all(event.as_bytes()).await.unwrap();
        let mut line = String::new();
        soon("an event", channel.stream.read_line(&mut line))
            .await
            .unwrap();
        assert_eq!(line, event);
    }
    // The caller went away: the server hears of it, instead of sending into the void for an hour.
    drop(channel);
    let mut rest = Vec::new();
    let _ = soon("the end", server.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn an_upgraded_connection_echoes() {
    let (gateway, local, _agent, mut signaling) = forwarding("").await;
    let (mut channel, mut server) = open(&gateway, &local, &mut signaling).await;
    channel
        .send(b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    head(&mut server).await;
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    server
        .get_mut()
        .write_all(switching.as_bytes())
        .await
        .unwrap();
    assert_eq!(head(&mut channel.stream).await, switching);
    for frame in [&b"\x81\x02hi"[..], b"\x82\x00", &[0xff; 70_000]] {
        let mut buffer = vec![0; frame.len()];
        channel.send(frame).await;
        soon("a frame", server.read_exact(&mut buffer))
            .await
            .unwrap();
        server.get_mut().write_all(&buffer).await.unwrap();
        buffer.fill(0);
        soon("its echo", channel.stream.read_exact(&mut buffer))
            .await
            .unwrap();
        assert_eq!(buffer, frame);
    }
}

#[tokio::test]
async fn r17_a_local_server_that_is_down_is_told_with_what_to_do() {
    let (gateway, local, agent, mut signaling) = forwarding("").await;
    let url = local.url();
    let address = url.trim_start_matches("http://");
    drop(local);
    for upload in ["", &"x".repeat(300_000)] {
        signaling.signal().await;
        let (mut channel, _) = gateway.channel().await;
        let request = format!(
            "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{upload}",
            upload.len()
        );
        channel.send(request.as_bytes()).await;
        let answer = channel.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (502, "close"));
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(
            problem["type"],
            "urn:everline:agent:local-server-unreachable"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("the agent's log") && !detail.contains(address),
            "{detail}"
        );
        assert!(channel.is_closed().await);
    }
    let log = agent.log();
    assert!(log.contains(address) && log.contains("is it running?"));
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_is_not_lost() {
    let (gateway, local, _agent, mut signaling) = forwarding("").await;
    let (mut channel, mut server) = open(&gateway, &local, &mut signaling).await;
    channel
        .send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\n")
        .await;
    head(&mut server).await;
    server
        .get_mut()
        .write_all(b"HTTP/1.1 413 No\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
        .await
        .unwrap();
    drop(server);
    // The gateway has not seen it yet, and goes on.
    channel.send(&[b'x'; 200_000]).await;
    let answer = channel.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (413, "no\n"));
}

#[tokio::test]
async fn a_response_that_is_broken_off_does_not_look_complete() {
    let (gateway, local, _agent, mut signaling) = forwarding("").await;
    let (mut channel, mut server) = open(&gateway, &local, &mut signaling).await;
    channel.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    head(&mut server).await;
    // Its end alone delimits this response.
    server
        .get_mut()
        .write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf of i")
        .await
        .unwrap();
    let mut part = [0; 28];
    soon("the first half", channel.stream.read_exact(&mut part))
        .await
        .unwrap();
    server.get_mut().set_zero_linger().unwrap();
    drop(server);
    let end = soon("the end", channel.stream.read(&mut part)).await;
    assert!(
        end.is_err(),
        "a reset, as the local server sent one: {end:?}"
    );
}

#[tokio::test]
async fn with_linger_one_channel_serves_several_requests() {
    let (gateway, local, _agent, mut signaling) = forwarding("linger_s = 5\n").await;
    let (mut channel, mut server) = open(&gateway, &local, &mut signaling).await;
    for n in 0..3 {
        channel
            .send(format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())
            .await;
        assert!(head(&mut server).await.starts_with(&format!("GET /{n} ")));
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}");
        server.get_mut().write_all(answer.as_bytes()).await.unwrap();
        assert_eq!(channel.answer().await.body, n.to_string());
    }
}

#[tokio::test]
async fn a_channel_on_which_nothing_passes_is_closed_in_the_end() {
    let (gateway, local, _agent, mut signaling) = forwarding("forward_idle_timeout_s = 1\n").await;
    let (mut channel, mut server) = open(&gateway, &local, &mut signaling).await;
    channel.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    head(&mut server).await;
    let _ = soon("the channel's end", channel.stream.read(&mut [0])).await;
    let _ = soon("the server's end", server.read(&mut [0])).await;
}

#[tokio::test]
async fn a_gateway_that_gives_up_before_its_request_leaves_nothing_behind() {
    let (gateway, local, agent, mut signaling) = forwarding("data_channels_max = 1\n").await;
    let (channel, mut server) = open(&gateway, &local, &mut signaling).await;
    drop(channel);
    let mut rest = Vec::new();
    soon("the local connection's end", server.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(rest.is_empty());
    until("the log says so", || {
        agent
            .log()
            .contains("closed the data channel before its request")
    })
    .await;
    let (_channel, _server) = open(&gateway, &local, &mut signaling).await;
}
