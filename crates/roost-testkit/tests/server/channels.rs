//! `/raw/{channel}`: publishing and hearing.

use std::time::Duration;

use roost_reactor::{Access, ChannelPolicy, Publish, policy_for_tests};
use roost_testkit::client::{Checked, Client, Frame, Message, Request};
use roost_testkit::server::{Backend, TestServer};

roost_testkit::on_each_backend!(
    text_and_bytes_reach_the_others,
    a_namespace_may_let_publishers_hear_themselves,
    publish_is_refused_where_publish_is_nobody,
    subscribe_is_refused_where_not_allowed,
    names_are_percent_decoded,
    all_hear_the_same_order_across_reactors,
    large_messages_cross_reactors,
    who_leaves_hears_no_more,
);

fn text_and_bytes_reach_the_others(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut from = server.open("/raw/lobby")?;
    let mut others = [server.open("/raw/lobby")?, server.open("/raw/lobby")?];
    let mut elsewhere = server.open("/raw/attic")?;
    from.send_text("hello")?;
    from.send_binary(&[0, 255])?;
    from.send_frames(&[
        Frame::text("frag").unfinished(),
        Frame::continuation("ment"),
    ])?;
    for other in &mut others {
        other.expect_text("hello")?;
        other.expect_binary(&[0, 255])?;
        other.expect_text("fragment")?;
    }
    // By default a publisher does not receive its own messages, and channels are apart.
    from.send_frame(&Frame::ping("nothing else?"))?;
    from.expect_pong(b"nothing else?")?;
    elsewhere.send_frame(&Frame::ping("nothing?"))?;
    elsewhere.expect_pong(b"nothing?")?;
    assert_eq!(server.count("publishes_total"), 3);
    assert_eq!(server.count("deliveries_total"), 6);
    Ok(())
}

fn a_namespace_may_let_publishers_hear_themselves(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        let policy = ChannelPolicy {
            receive_own: true,
            ..policy_for_tests()
        };
        settings.channels.namespaces = vec![("loud".to_owned(), policy)];
    });
    let mut loud = server.open("/raw/loud:room")?;
    loud.send_text("myself")?;
    loud.expect_text("myself")?;
    let mut plain = server.open("/raw/loud")?;
    plain.send_text("myself")?;
    plain.send_frame(&Frame::ping(""))?;
    plain.expect_pong(b"")?;
    Ok(())
}

fn publish_is_refused_where_publish_is_nobody(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        let policy = ChannelPolicy {
            publish: Publish::Nobody,
            ..policy_for_tests()
        };
        settings.channels.namespaces = vec![("news".to_owned(), policy)];
    });
    let mut subscriber = server.open("/raw/news:today")?;
    let mut bold = server.open("/raw/news:today")?;
    bold.send_text("fake")?;
    let reason = bold.expect_close(1008)?;
    assert!(reason.contains("publish = \"nobody\""), "{reason}");
    subscriber.send_frame(&Frame::ping(""))?;
    subscriber.expect_pong(b"")?;
    assert_eq!(server.count("publishes_refused_total"), 1);
    assert_eq!(server.count("deliveries_total"), 0);
    Ok(())
}

fn subscribe_is_refused_where_not_allowed(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        let policy = ChannelPolicy {
            subscribe: Access::Nobody,
            ..policy_for_tests()
        };
        settings.channels.namespaces = vec![("closed".to_owned(), policy)];
    });
    let mut client = Client::connect(server.address())?;
    let request = Request::websocket("h", "/raw/closed:room");
    client.send(&request.bytes())?;
    assert_eq!(client.read_response()?.status, 403);
    Ok(())
}

fn names_are_percent_decoded(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut plain = server.open("/raw/caf%C3%A9/1+1")?;
    let mut encoded = server.open("/raw/%63afé%2f1%2B1")?;
    plain.send_text("same room")?;
    encoded.expect_text("same room")?;
    Ok(())
}

fn all_hear_the_same_order_across_reactors(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 4, |settings| {
        settings.channels.default.receive_own = true
    });
    let mut clients = Vec::new();
    for _ in 0..24 {
        clients.push(server.open("/raw/order")?);
    }
    let busy = (0..4).filter(|&id| server.registry().reactor(id).websockets_open.get() > 0);
    assert!(busy.count() >= 2, "24 clients on one of four reactors");
    for round in 0..20 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send_text(&format!("{number}.{round}"))?;
        }
    }
    let mut received: Vec<Vec<String>> = Vec::new();
    for client in &mut clients {
        let mut messages = Vec::new();
        for _ in 0..24 * 20 {
            match client.receive()? {
                Message::Text(text) => messages.push(text),
                other => panic!("received {other:?}"),
            }
        }
        received.push(messages);
    }
    for messages in &received[1..] {
        assert_eq!(
            messages, &received[0],
            "two subscribers received different orders"
        );
    }
    for number in 0..24 {
        let own: Vec<_> = received[0]
            .iter()
            .filter(|text| text.starts_with(&format!("{number}.")))
            .collect();
        let sent: Vec<_> = (0..20).map(|round| format!("{number}.{round}")).collect();
        assert!(
            own.into_iter().eq(&sent),
            "publisher {number} is out of order"
        );
    }
    assert!(server.count("cross_reactor_batches_total") > 0);
    Ok(())
}

fn large_messages_cross_reactors(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 3, |_| {});
    let mut clients = Vec::new();
    for _ in 0..9 {
        clients.push(server.open("/raw/large")?);
    }
    let payload = vec![0xa5; 700_000];
    clients[0].send_binary(&payload)?;
    for client in &mut clients[1..] {
        client.expect_binary(&payload)?;
    }
    Ok(())
}

fn who_leaves_hears_no_more(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut stays = server.open("/raw/room")?;
    for _ in 0..20 {
        let mut leaves = server.open("/raw/room")?;
        leaves.send_close(1000, "")?;
        // The two may be handled in either order; but behind its close frame nothing comes.
        stays.send_text("bye")?;
        while leaves.receive()? != Message::Close(Some(1000), String::new()) {}
        leaves.expect_fin()?;
    }
    server.wait_for_count("subscriptions", |count| count == 1);
    server.wait_for_count("connections_open", |count| count == 1);
    stays.expect_silence(Duration::from_millis(20))?;
    drop(stays);
    server.wait_for_count("channels", |count| count == 0);
    server.wait_for_count("home_channels", |count| count == 0);
    Ok(())
}
