//! tungstenite, which others wrote, as client.

use std::net::TcpStream;

use roost_testkit::client::Checked;
use roost_testkit::server::{Backend, DEADLINE, TestServer};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Error, Message, WebSocket};

roost_testkit::on_each_backend!(a_conversation, a_channel, a_close_by_the_server);

fn open(server: &TestServer, path: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(server.address()).expect("the server listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let url = format!("ws://{}{path}", server.address());
    let (socket, response) = tungstenite::client(url, stream).expect("a handshake");
    assert_eq!(response.status(), 101);
    socket
}

fn a_conversation(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut socket = open(&server, "/echo");
    let large: Bytes = vec![3; 1 << 20].into();
    for message in [
        Message::text("κόσμε"),
        Message::text(""),
        Message::binary([0, 1, 255].to_vec()),
        Message::Binary(large),
    ] {
        socket.send(message.clone()).expect("sent");
        assert_eq!(socket.read().expect("an answer"), message);
    }
    socket
        .send(Message::Ping(Bytes::from_static(b"ping")))
        .expect("sent");
    assert_eq!(
        socket.read().expect("a pong"),
        Message::Pong(Bytes::from_static(b"ping"))
    );
    let frame = CloseFrame {
        code: CloseCode::Library(4321),
        reason: "enough".into(),
    };
    socket.close(Some(frame)).expect("sent");
    match socket.read().expect("a close frame") {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 4321),
        other => panic!("{other:?}"),
    }
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    Ok(())
}

fn a_channel(backend: Backend) -> Checked {
    let server = TestServer::with(backend, 2, |_| {});
    let mut theirs = open(&server, "/raw/mixed");
    let mut ours = server.open("/raw/mixed")?;
    theirs
        .send(Message::text("from tungstenite"))
        .expect("sent");
    ours.expect_text("from tungstenite")?;
    ours.send_binary(b"to tungstenite")?;
    let received = theirs.read().expect("a message");
    assert_eq!(received, Message::binary(&b"to tungstenite"[..]));
    Ok(())
}

fn a_close_by_the_server(backend: Backend) -> Checked {
    let server = TestServer::start(backend);
    let mut socket = open(&server, "/echo");
    server.begin_stop(10_000);
    match socket.read().expect("a close frame") {
        Message::Close(Some(frame)) => {
            assert_eq!(frame.code, CloseCode::Away);
            assert_eq!(frame.reason.as_str(), "server is going down");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    drop(socket);
    server.wait_stopped();
    Ok(())
}
