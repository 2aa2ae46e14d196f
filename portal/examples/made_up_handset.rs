//! A gateway with one made-up handset, 34600000001 (`alice` / `wonderland`), for a look at the portal with a browser:
//! `cargo run --example made_up_handset -- 127.0.0.1:8080`, and the portal beside it.

use std::net::SocketAddr;

#[path = "../tests/support/handset.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod handset;

#[tokio::main]
async fn main() {
    let at = std::env::args()
        .nth(1)
        .and_then(|at| at.parse().ok())
        .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
    let made_up = handset::MadeUp::default();
    handset::sample(&made_up);
    let address = made_up.serve(at).await;
    println!("handset {} behind http://{address}", handset::MSISDN);
    std::future::pending::<()>().await;
}
