//! Requests that an HTTP proxy forwards: the client that it names is the one that is limited, and no other
//! can be named.

use std::net::IpAddr;

use roost_reactor::{Forwarded, ForwardedHeader, Settings};
use roost_testkit::client::{Checked, Client, ConnectOptions, Failure, Request, Response};
use roost_testkit::server::{Backend, TestServer, wait_until};

roost_testkit::on_each_backend_and_over_tls!(
    the_client_that_a_proxy_names_is_the_one_that_is_limited,
    a_client_cannot_name_itself,
    elsewhere_nothing_is_believed,
    a_named_client_begins_as_many_as_its_rate_allows,
    an_event_stream_counts_as_its_clients,
    several_requests_on_a_connection_count_once,
    a_proxy_that_names_no_client_is_served,
);

/// A server whose proxies are 127.0.0.1 and 10.0.0.0/8, with one reactor: each counts its own.
fn server(
    backend: Backend,
    header: ForwardedHeader,
    change: impl FnOnce(&mut Settings),
) -> TestServer {
    TestServer::with(backend, 1, |settings| {
        let from = ["127.0.0.1", "10.0.0.0/8"].map(|network| network.parse().expect("a network"));
        settings.listeners[0].forwarded = Some(Forwarded {
            header,
            from: from.to_vec(),
        });
        change(settings);
    })
}

fn at_most_two(settings: &mut Settings) {
    settings.limits.connections_per_address_max = 2;
}

/// What a request with these headers is answered, on a connection of its own.
fn ask(server: &TestServer, headers: &[&str]) -> Result<(Client, Response), Failure> {
    let mut client = Client::connect(server.address())?;
    let request = headers
        .iter()
        .fold(Request::websocket("h", "/echo"), Request::header);
    client.send(&request.bytes())?;
    let response = client.read_response()?;
    Ok((client, response))
}

fn header_of<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    let mut headers = response.headers.iter();
    let found = headers.find(|(own, _)| own.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

fn the_client_that_a_proxy_names_is_the_one_that_is_limited(backend: Backend) -> Checked {
    let server = server(backend, ForwardedHeader::XForwardedFor, at_most_two);
    let (first, _) = ask(&server, &["X-Forwarded-For: 192.0.2.1"])?;
    let (_second, response) = ask(&server, &["x-forwarded-for: 192.0.2.9, 192.0.2.1:7"])?;
    assert_eq!(response.status, 101);
    let (_, response) = ask(&server, &["X-Forwarded-For: 192.0.2.1"])?;
    assert_eq!(response.status, 429);
    assert_eq!(server.count("refused_per_address_total"), 1);
    let (_other, response) = ask(&server, &["X-Forwarded-For: 192.0.2.2"])?;
    assert_eq!(response.status, 101, "another client");
    // A place that comes free is free for the address that had it.
    let before = server.count("connections_open");
    first.close()?;
    wait_until(
        || server.count("connections_open") < before,
        || "it is still open".to_owned(),
    );
    let (_, response) = ask(&server, &["X-Forwarded-For: 192.0.2.1"])?;
    assert_eq!(response.status, 101);
    assert_eq!(server.count("forwarded_total"), 4);
    Ok(())
}

/// What clients have sent, each way, before what the proxy adds on its own line or on theirs.
fn a_client_cannot_name_itself(backend: Backend) -> Checked {
    let claims: [(ForwardedHeader, &[&str]); 2] = [
        (
            ForwardedHeader::XForwardedFor,
            &[
                "X-Forwarded-For: 198.51.100.N, 192.0.2.1",
                "X-Forwarded-For: 10.0.0.N, 192.0.2.1",
                "X-Forwarded-For: 127.0.0.1, 198.51.100.N, 192.0.2.1, 10.0.0.7",
                "X-Forwarded-For: \", 198.51.100.N\u{e9}, 192.0.2.1",
                "Forwarded: for=198.51.100.N\r\nX-Forwarded-For: 192.0.2.1",
                "X-Forwarded-For: 198.51.100.N\r\nX-Forwarded-For: 192.0.2.1",
                "X-Forwarded-For: ,,198.51.100.N,\r\nX-FORWARDED-FOR: 192.0.2.1,",
                "X-Real-IP: 198.51.100.N\r\nX-Forwarded-For: ::ffff:192.0.2.1",
            ],
        ),
        (
            ForwardedHeader::Forwarded,
            &[
                "Forwarded: for=198.51.100.N, for=192.0.2.1",
                "Forwarded: for=\", for=192.0.2.1;proto=https",
                "Forwarded: for=\"198.51.100.N, for=192.0.2.1",
                "Forwarded: for=198.51.100.N;a=\"\\\", for=192.0.2.1",
                "X-Forwarded-For: 198.51.100.N\r\nForwarded: for=\"192.0.2.1:5000\"",
                "Forwarded: for=\"\r\nForwarded: for=192.0.2.1",
                "Forwarded: for=10.0.0.N, for=192.0.2.1, for=10.0.0.7",
            ],
        ),
    ];
    for (header, claims) in claims {
        let server = server(backend, header, |settings| {
            settings.limits.connections_per_address_max = 1;
        });
        let own = match header {
            ForwardedHeader::XForwardedFor => "X-Forwarded-For: ",
            ForwardedHeader::Forwarded => "Forwarded: for=",
        };
        let (_held, response) = ask(&server, &[&format!("{own}192.0.2.1")])?;
        assert_eq!(response.status, 101);
        for (number, claim) in claims.iter().enumerate() {
            let claimed = (number + 10).to_string();
            let line = claim.replace('N', &claimed);
            let lines: Vec<&str> = line.split("\r\n").collect();
            let (_, response) = ask(&server, &lines)?;
            assert_eq!(response.status, 429, "{line}");
            // What was claimed is free for its own client.
            let (_client, response) = ask(&server, &[&format!("{own}198.51.100.{claimed}")])?;
            assert_eq!(response.status, 101, "{line}");
        }
        assert_eq!(server.count("forwarded_total"), 1 + claims.len() as u64);
        assert_eq!(
            server.count("refused_per_address_total"),
            claims.len() as u64
        );
    }
    Ok(())
}

/// A connection from an address that is no proxy's is its own client's.
fn elsewhere_nothing_is_believed(backend: Backend) -> Checked {
    let server = server(backend, ForwardedHeader::XForwardedFor, at_most_two);
    let from_elsewhere = |claim: &str| -> Result<(Client, u16), Failure> {
        let options = ConnectOptions {
            local: Some(IpAddr::from([127, 0, 0, 2])),
            ..ConnectOptions::default()
        };
        let mut client = Client::connect_with(server.address(), options)?;
        let request = Request::websocket("h", "/echo").header(claim);
        client.send(&request.bytes())?;
        let status = client.read_response()?.status;
        Ok((client, status))
    };
    let mut clients = Vec::new();
    for last in [1, 2] {
        let (client, status) = from_elsewhere(&format!("X-Forwarded-For: 192.0.2.{last}"))?;
        assert_eq!(status, 101);
        clients.push(client);
    }
    assert!(
        from_elsewhere("X-Forwarded-For: 192.0.2.3").is_err(),
        "the third of its address is reset"
    );
    assert_eq!(server.count("refused_per_address_total"), 1);
    assert_eq!(server.count("forwarded_total"), 0);
    let (_, response) = ask(&server, &["X-Forwarded-For: 192.0.2.1"])?;
    assert_eq!(response.status, 101, "what was claimed counts nowhere");
    Ok(())
}

fn a_named_client_begins_as_many_as_its_rate_allows(backend: Backend) -> Checked {
    let server = server(backend, ForwardedHeader::Forwarded, |settings| {
        settings.limits.connects_per_address_per_second_max = 1;
        settings.limits.client_burst_ms = 100_000;
    });
    // A /64 is one: 100 of a burst, and one or two while that takes a moment.
    let mut begun = 0;
    let refused = loop {
        let client = format!("Forwarded: for=\"[2001:db8:0:1::{begun:x}]\"");
        let (_, response) = ask(&server, &[&client])?;
        if response.status != 101 {
            break response;
        }
        begun += 1;
        assert!(begun < 1_000, "no limit");
    };
    assert!(begun >= 100, "{begun}");
    assert_eq!(refused.status, 429);
    let wait = header_of(&refused, "Retry-After").map(str::parse::<u64>);
    assert!(matches!(wait, Some(Ok(1..=20))), "{wait:?}");
    assert!(server.count("refused_connect_rate_total") >= 1);
    let (_, response) = ask(&server, &["Forwarded: for=\"[2001:db8:0:2::1]\""])?;
    assert_eq!(response.status, 101, "another network");
    Ok(())
}

fn an_event_stream_counts_as_its_clients(backend: Backend) -> Checked {
    let server = server(backend, ForwardedHeader::XForwardedFor, at_most_two);
    let mut streams = Vec::new();
    let several = "/sse?channel=news&channel=other";
    for (target, expected) in [("/sse/news", 200), (several, 200), (several, 429)] {
        let mut client = Client::connect(server.address())?;
        let request = Request::get("h", target).header("X-Forwarded-For: 192.0.2.1");
        client.send(&request.bytes())?;
        assert_eq!(client.read_response()?.status, expected);
        streams.push(client);
    }
    let (_, response) = ask(&server, &["X-Forwarded-For: 192.0.2.1"])?;
    assert_eq!(response.status, 429);
    drop(streams);
    server.wait_for_count("connections_open", |open| open == 0);
    let (_, response) = ask(&server, &["X-Forwarded-For: 192.0.2.1"])?;
    assert_eq!(response.status, 101);
    Ok(())
}

/// Plain requests of several clients on a connection of the proxy's, then a WebSocket of one.
fn several_requests_on_a_connection_count_once(backend: Backend) -> Checked {
    let server = server(backend, ForwardedHeader::XForwardedFor, at_most_two);
    let mut client = Client::connect(server.address())?;
    for last in [1, 1, 1, 2] {
        let request =
            Request::get("h", "/health").header(format!("X-Forwarded-For: 192.0.2.{last}"));
        client.send(&request.bytes())?;
        let response = client.read_response()?;
        assert_eq!(response.status, 200);
        client.read_body(&response)?;
    }
    assert_eq!(server.count("forwarded_total"), 0, "no client's yet");
    client.shake_hands(&Request::websocket("h", "/echo").header("X-Forwarded-For: 192.0.2.3"))?;
    client.send_text("through a proxy")?;
    client.expect_text("through a proxy")?;
    assert_eq!(server.count("forwarded_total"), 1);
    client.close()?;
    server.wait_for_count("connections_open", |open| open == 0);
    Ok(())
}

fn a_proxy_that_names_no_client_is_served(backend: Backend) -> Checked {
    let server = server(backend, ForwardedHeader::XForwardedFor, at_most_two);
    let mut clients = Vec::new();
    let headers: [&[&str]; 4] = [
        &[],
        &["X-Forwarded-For: unknown"],
        &["X-Forwarded-For:"],
        &["Forwarded: for=192.0.2.1"],
    ];
    for headers in headers {
        let (client, response) = ask(&server, headers)?;
        assert_eq!(response.status, 101, "{headers:?}");
        clients.push(client);
    }
    assert_eq!(server.count("forwarded_unnamed_total"), 4);
    assert_eq!(server.count("forwarded_total"), 0);
    Ok(())
}
