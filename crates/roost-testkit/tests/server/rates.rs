//! Clients that do more than their rates allow, and addresses that connect too often.

use std::time::{Duration, Instant};

use roost_reactor::{Access, ChannelPolicy, ClientRatePolicy, Settings, policy_for_tests};
use roost_testkit::client::{Checked, Client, ConnectOptions, Failure, Request};
use roost_testkit::server::{Backend, TestServer};

roost_testkit::on_each_backend_and_over_tls!(
    a_client_that_sends_too_many_messages_is_read_later_and_loses_none,
    a_client_that_sends_too_many_bytes_is_read_later,
    one_that_does_too_much_does_not_slow_others,
    with_close_a_client_beyond_its_rate_gets_1008,
    a_client_that_subscribes_too_often_is_closed,
    a_client_that_is_refused_too_often_is_closed_whatever_the_policy,
    rates_that_change_begin_anew,
    an_address_that_connects_too_often_is_refused,
);

fn start(backend: Backend, change: impl FnOnce(&mut Settings)) -> TestServer {
    TestServer::with(backend, 1, |settings| {
        settings.limits.client_burst_ms = 1_000;
        let closed = ChannelPolicy {
            subscribe: Access::Nobody,
            ..policy_for_tests()
        };
        settings.channels.namespaces = vec![("closed".to_owned(), closed)];
        change(settings);
    })
}

/// A burst of 10, and 10 a second: the last of 30 comes two seconds after the first at the earliest.
fn a_client_that_sends_too_many_messages_is_read_later_and_loses_none(backend: Backend) -> Checked {
    let server = start(backend, |settings| {
        settings.limits.client_messages_per_second_max = 10;
    });
    let mut client = server.open("/echo")?;
    let begun = Instant::now();
    for number in 0..30 {
        client.send_text(&format!("{number}"))?;
    }
    for number in 0..30 {
        client.expect_text(&format!("{number}"))?;
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1_500), "{took:?} for 30");
    assert!(server.count("client_rate_limited_total") >= 10);
    assert_eq!(server.count("client_rate_closes_total"), 0);
    assert_eq!(server.count("text_messages_received_total"), 30);
    client.close()?;
    Ok(())
}

/// 10,000 bytes a second, and a burst of as many: 30,000 take two seconds at least.
fn a_client_that_sends_too_many_bytes_is_read_later(backend: Backend) -> Checked {
    let server = start(backend, |settings| {
        settings.limits.client_bytes_per_second_max = 10_000;
    });
    let mut client = server.open("/echo")?;
    let text = "x".repeat(5_000);
    let begun = Instant::now();
    for _ in 0..7 {
        client.send_text(&text)?;
        client.expect_text(&text)?;
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1_500), "{took:?}");
    assert!(server.count("client_rate_limited_total") >= 1);
    client.close()?;
    Ok(())
}

fn one_that_does_too_much_does_not_slow_others(backend: Backend) -> Checked {
    let server = start(backend, |settings| {
        settings.limits.client_messages_per_second_max = 20;
        settings.limits.client_burst_ms = 600_000; // 12,000 of each
    });
    let mut flooder = server.open("/raw/flood")?;
    let mut good = server.open("/echo")?;
    for number in 0..12_100 {
        flooder.send_text("flood")?;
        if number % 1_000 == 0 {
            good.send_text("mine")?;
            good.expect_text("mine")?;
        }
    }
    server.wait_for_count("client_rate_limited_total", |count| count >= 1);
    for _ in 0..10 {
        good.send_text("mine")?;
        good.expect_text("mine")?;
    }
    good.close()?;
    Ok(())
}

fn with_close_a_client_beyond_its_rate_gets_1008(backend: Backend) -> Checked {
    let server = start(backend, |settings| {
        settings.limits.client_messages_per_second_max = 1;
        settings.limits.client_rate_policy = ClientRatePolicy::Close;
    });
    let mut client = server.open("/raw/a")?;
    for _ in 0..5 {
        client.send_text("much")?;
    }
    assert_eq!(client.expect_close(1008)?, "too many messages");
    assert_eq!(server.count("client_rate_closes_total"), 1);
    Ok(())
}

/// Centrifugo's protocol over JSON: its client names as many channels as it likes.
fn centrifugo(server: &TestServer) -> Result<Client, Failure> {
    let mut client = server.open("/connection/websocket")?;
    client.send_text("{\"id\":1,\"connect\":{}}")?;
    client.receive()?;
    Ok(client)
}

fn a_client_that_subscribes_too_often_is_closed(backend: Backend) -> Checked {
    let server = start(backend, |settings| {
        settings.limits.client_subscribes_per_second_max = 5;
        settings.limits.client_rate_policy = ClientRatePolicy::Close;
    });
    let mut client = centrifugo(&server)?;
    for number in 2..20 {
        let subscribe = format!("{{\"id\":{number},\"subscribe\":{{\"channel\":\"a{number}\"}}}}");
        client.send_text(&subscribe)?;
    }
    assert_eq!(until_close(&mut client)?, 3013);
    assert_eq!(server.count("client_rate_closes_total"), 1);
    Ok(())
}

/// The code of the close frame, whatever comes before it.
fn until_close(client: &mut Client) -> Result<u16, Failure> {
    loop {
        if let roost_testkit::client::Message::Close(code, _) = client.receive()? {
            return Ok(code.unwrap_or_default());
        }
    }
}

/// With the policy "pause": to be read later would change nothing.
fn a_client_that_is_refused_too_often_is_closed_whatever_the_policy(backend: Backend) -> Checked {
    let server = start(backend, |settings| {
        settings.limits.client_refusals_per_second_max = 5;
    });
    let mut client = centrifugo(&server)?;
    for number in 2..20 {
        let subscribe =
            format!("{{\"id\":{number},\"subscribe\":{{\"channel\":\"closed:{number}\"}}}}");
        client.send_text(&subscribe)?;
    }
    assert_eq!(until_close(&mut client)?, 3509);
    assert_eq!(server.count("client_rate_closes_total"), 1);
    Ok(())
}

/// A client that would have waited for an hour is read again.
fn rates_that_change_begin_anew(backend: Backend) -> Checked {
    let server = start(backend, |settings| {
        settings.limits.client_bytes_per_second_max = 1;
    });
    let mut client = server.open("/echo")?;
    let text = "x".repeat(3_600);
    client.send_text(&text)?;
    client.expect_text(&text)?;
    client.send_text("waits")?;
    client.expect_silence(Duration::from_millis(300))?;
    let mut settings = server.shared().settings().as_ref().clone();
    settings.limits.client_bytes_per_second_max = 1_000_000;
    server.reload(settings);
    client.expect_text("waits")?;
    let begun = Instant::now();
    for _ in 0..20 {
        client.send_text(&text)?;
        client.expect_text(&text)?;
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "by the old rate");
    client.close()?;
    Ok(())
}

fn an_address_that_connects_too_often_is_refused(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |settings| {
        settings.limits.connects_per_address_per_second_max = 1;
        settings.limits.client_burst_ms = 20_000; // 20 at once, on all reactors together
    });
    let from = |last| -> Result<Client, Failure> {
        let options = ConnectOptions {
            local: Some(std::net::IpAddr::from([127, 0, 0, last])),
            ..ConnectOptions::default()
        };
        Client::connect_with(server.address(), options)
    };
    let request = Request::websocket("h", "/echo");
    let mut begun = 0;
    // Over TLS the connection is reset before its handshake, which would cost more.
    let refused = loop {
        assert!(begun < 200, "no limit");
        let mut client = match from(2) {
            Ok(client) => client,
            Err(_) if backend.has_tls() => break None,
            Err(error) => return Err(error.into()),
        };
        client.send_anyway(&request.bytes());
        match client.read_response() {
            Ok(response) if response.status == 101 => begun += 1,
            Ok(response) => break Some(response),
            Err(_) if backend.has_tls() => break None,
            Err(error) => return Err(error.into()),
        }
    };
    assert!(begun >= 20, "{begun}");
    assert_eq!(refused.is_none(), backend.has_tls());
    if let Some(response) = refused {
        assert_eq!(response.status, 429);
        let mut headers = response.headers.iter();
        let wait = headers.find(|(name, _)| name == "Retry-After");
        let wait = wait.map(|(_, seconds)| seconds.parse::<u64>());
        assert!(matches!(wait, Some(Ok(1..=20))), "{wait:?}");
    }
    server.wait_for_count("refused_connect_rate_total", |count| count >= 1);
    from(3)?.shake_hands(&request)?; // another address
    Ok(())
}
