//! What no dialect of the product does yet: several commands a message, commands over several
//! messages, binary answers. By the toy dialect, which is one folder and one line.

use std::sync::Arc;

use roost_testkit::client::{Checked, Client, Failure, Message};
use roost_testkit::server::{Backend, TestServer};

roost_testkit::on_each_backend!(
    commands_are_cut_anywhere,
    a_command_without_an_end_is_refused,
    what_is_kept_of_a_command_has_the_limit_of_a_message,
    a_client_may_leave_in_the_middle_of_a_command,
    a_subscription_is_told_where_it_begins,
);

fn start(backend: Backend) -> TestServer {
    TestServer::with(backend, 2, |settings| {
        Arc::make_mut(&mut settings.dialects.toy).enabled = true;
        settings.limits.message_bytes_max = 300;
        settings.limits.frame_bytes_max = 300;
    })
}

/// Cuts the same stream of lines into messages of each length.
fn commands_are_cut_anywhere(backend: Backend) -> Checked {
    let server = start(backend);
    let stream = b"PING\nPUB lobby one\nPING\nPUB lobby two\nPUB lobby three\nPING\n";
    for len in 1..=stream.len() {
        let mut subscriber = Client::open(server.address(), "/raw/lobby")?;
        let mut client = Client::open(server.address(), "/toy")?;
        for message in stream.chunks(len) {
            client.send_binary(message)?;
        }
        for expected in ["one", "two", "three"] {
            subscriber.expect_text(expected)?;
        }
        for _ in 0..3 {
            client.expect_binary(b"PONG")?;
        }
        subscriber.close()?;
        client.close()?;
    }
    Ok(())
}

fn a_command_without_an_end_is_refused(backend: Backend) -> Checked {
    let server = start(backend);
    let mut client = Client::open(server.address(), "/toy")?;
    client.send_binary(b"PING\nPUB")?;
    client.expect_binary(b"PONG")?;
    client.send_binary(&[b'x'; 252])?;
    client.send_binary(b"PIN")?;
    assert_eq!(client.expect_close(1009)?, "the line is too long");
    Ok(())
}

/// The dialect would take 256 bytes; the server keeps less.
fn what_is_kept_of_a_command_has_the_limit_of_a_message(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 1, |settings| {
        Arc::make_mut(&mut settings.dialects.toy).enabled = true;
        settings.limits.message_bytes_max = 100;
        settings.limits.frame_bytes_max = 100;
    });
    let mut client = Client::open(server.address(), "/toy")?;
    client.send_binary(&[b'x'; 100])?;
    client.send_binary(b"y")?;
    client.expect_close(1009)?;
    server.wait_for_count("input_buffered_bytes", |count| count == 0);
    Ok(())
}

fn a_client_may_leave_in_the_middle_of_a_command(backend: Backend) -> Checked {
    let server = start(backend);
    let mut client = Client::open(server.address(), "/toy")?;
    client.send_binary(b"PING\nPUB lob")?;
    client.expect_binary(b"PONG")?;
    client.reset()?;
    server.wait_for_count("input_buffered_bytes", |count| count == 0);
    server.wait_for_count("connections_open", |count| count == 0);
    Ok(())
}

/// What a subscription gets begins right behind the position that it is told, on any reactor.
fn a_subscription_is_told_where_it_begins(backend: Backend) -> Checked {
    let server = start(backend);
    let mut publisher = Client::open(server.address(), "/toy")?;
    // It keeps the channel, so that its offsets go on.
    let mut first = Client::open(server.address(), "/toy")?;
    let (epoch, mut last) = subscribe(&mut first)?;
    for _ in 0..8 {
        publisher.send_binary(b"PUB lobby old\n")?;
        last += 1;
        first.expect_binary(format!("{last} old").as_bytes())?;
        let mut later = Client::open(server.address(), "/toy")?;
        let (same_epoch, begin) = subscribe(&mut later)?;
        assert_eq!(same_epoch, epoch);
        publisher.send_binary(b"PUB lobby new\n")?;
        last += 1;
        first.expect_binary(format!("{last} new").as_bytes())?;
        // On another reactor than the first's the old one may still have been under way.
        assert!((last - 2..last).contains(&begin), "{begin} of {last}");
        if begin == last - 2 {
            later.expect_binary(format!("{} old", last - 1).as_bytes())?;
        }
        later.expect_binary(format!("{last} new").as_bytes())?;
        later.close()?;
    }
    Ok(())
}

/// Subscribes to the lobby; returns the epoch and the offset of the answer.
fn subscribe(client: &mut Client) -> Result<(String, u64), Failure> {
    client.send_binary(b"SUB lobby\n")?;
    let Message::Binary(answer) = client.receive()? else {
        return Err(Failure::new("the toy sends binary messages"));
    };
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let position = answer.strip_prefix("AT ").and_then(|at| at.split_once(' '));
    let position = position.and_then(|(epoch, offset)| Some((epoch, offset.parse().ok()?)));
    let (epoch, offset) = position.ok_or_else(|| Failure::new(format!("no position: {answer}")))?;
    Ok((epoch.to_owned(), offset))
}
