//! A bare axum server that answers every request with 204, on one thread: what an API on the same
//! libraries costs at least. `scripts/api_cost.py` compares.

use std::convert::Infallible;
use std::io::Write as _;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tower_service::Service;

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        let router = Router::new().fallback(async || StatusCode::NO_CONTENT);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let router = router.clone();
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let mut router = router.clone();
                async move {
                    match router.call(request.map(Body::new)).await {
                        Ok(response) => Ok::<_, Infallible>(response),
                        Err(never) => match never as Infallible {},
                    }
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}
