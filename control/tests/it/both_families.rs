//! Ports of the default address: they take IPv4 and IPv6, and a client is known by the address of its own family. One
//! with IPv4 comes to them as `::ffff:127.0.0.1`, and each list that names 127.0.0.1 must hold it all the same, or not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use shardcast_link::settings::default_bind;

use crate::{
    rtmp_port,
    server::{Client, Server, broadcasts, publish, request},
};

/// A server at the default address with these settings.
async fn server(text: &str) -> Server {
    Server::start_at(default_bind(), text).await
}

/// Where clients of either family reach `address`. A machine may be without IPv6.
fn ways(address: SocketAddr) -> Vec<SocketAddr> {
    let of_v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    let of_v6 = Some(of_v6).filter(|_| address.is_ipv6());
    [Some(Ipv4Addr::LOCALHOST.into()), of_v6]
        .into_iter()
        .flatten()
        .map(|ip| SocketAddr::new(ip, address.port()))
        .collect()
}

#[tokio::test]
async fn rest_knows_a_client_by_the_address_of_its_own_family() {
    for (list, lets_in) in [
        ("127.0.0.0/8,::1", true),
        // What `localhost` is, the client's resolver decides.
        ("127.0.0.1", true),
        ("10.0.0.0/8", false),
        ("::ffff:10.0.0.0/104", false),
        ("::2/128", false),
    ] {
        let server = server(&format!("remoteAllowedCIDR = \"{list}\"")).await;
        for way in ways(server.http()) {
            let reply = request(way, "GET", &broadcasts("count"), &[], b"").await;
            assert_eq!(
                reply.status == 200,
                lets_in,
                "{list} {way}: {}",
                reply.text()
            );
            let refusal = format!("Not allowed IP: {} ", way.ip());
            assert!(
                lets_in || reply.text().starts_with(&refusal),
                "{}",
                reply.text()
            );
        }
    }
}

#[tokio::test]
async fn publishers_of_either_family_are_let_in_by_their_own_addresses() {
    for (list, lets_in) in [
        ("127.0.0.1", true),
        ("0.0.0.0/0", true),
        ("192.0.2.0/24", false),
        ("::ffff:192.0.2.0/120", false),
    ] {
        let server = server(&format!("allowedPublisherCIDR = \"{list}\"")).await;
        for way in ways(server.http()) {
            let mut browser = Client::connect(way, "StreamLick").await;
            let answer = browser.ask(publish("s1")).await;
            assert_eq!(
                answer["command"] == "start",
                lets_in,
                "{list} {way}: {answer}"
            );
        }
        for way in ways(rtmp_port::port(&server)) {
            let refusal = rtmp_port::publish_at(way, "StreamLick/s2").await;
            let is_let_in = refusal.contains("the media server is away");
            assert_eq!(is_let_in, lets_in, "{list} {way}: {refusal}");
        }
    }
}

#[tokio::test]
async fn an_encoder_of_this_machine_reaches_the_test_sink_in_either_family() {
    let server = server("").await;
    for way in ways(rtmp_port::port(&server)) {
        let refusal = rtmp_port::publish_at(way, "sink/any").await;
        assert!(
            refusal.contains("the media server is away"),
            "{way}: {refusal}"
        );
    }
}
