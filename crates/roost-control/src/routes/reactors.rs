//! What each reactor has and does, and the processor time it takes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use axum::extract::State as Shown;
use axum::response::Response;
use serde::Serialize;

use super::answers::{State, respond_json};

#[derive(Serialize)]
struct View {
    reactor: usize,
    connections_open: u64,
    websockets_open: u64,
    loop_iterations_total: u64,
    /// Processor time of its thread; `null` where the system does not show it.
    cpu_ms_total: Option<u64>,
}

/// `GET /stats/reactors`.
pub(super) async fn reactors(Shown(state): Shown<Arc<State>>) -> Response {
    let registry = state.shared.registry();
    let cpu_ms = cpu_ms(Path::new(TASKS), registry.reactors());
    let views: Vec<View> = cpu_ms
        .into_iter()
        .enumerate()
        .map(|(reactor, cpu_ms_total)| {
            let counters = registry.reactor(reactor);
            View {
                reactor,
                connections_open: counters.connections_open.get(),
                websockets_open: counters.websockets_open.get(),
                loop_iterations_total: counters.loop_iterations_total.get(),
                cpu_ms_total,
            }
        })
        .collect();
    respond_json(&views)
}

/// Of each reactor's thread, which is known by its name. A few small files of memory: nothing waits.
fn cpu_ms(tasks: &Path, reactors: usize) -> Vec<Option<u64>> {
    let mut found = vec![None; reactors];
    let Ok(threads) = fs::read_dir(tasks) else {
        return found;
    };
    for thread in threads.flatten() {
        // A thread may end meanwhile.
        let stat = fs::read_to_string(thread.path().join("stat"));
        let parsed = stat.as_deref().ok().and_then(parse_stat);
        if let Some((reactor, ms)) = parsed
            && let Some(place) = found.get_mut(reactor)
        {
            *place = Some(ms);
        }
    }
    found
}

/// A reactor's number and its milliseconds; `None` of another thread. proc_pid_stat(5): the name is in
/// parentheses; user and system time are fields 14 and 15, in ticks.
fn parse_stat(stat: &str) -> Option<(usize, u64)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let reactor = name.strip_prefix("reactor-")?.parse().ok()?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((reactor, (user + system) * MS_PER_TICK))
}

/// The threads of this process.
const TASKS: &str = "/proc/self/task";
/// `USER_HZ` is 100 on every architecture that Rust has a Linux target for but Alpha, which it has not.
const MS_PER_TICK: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reactor_is_known_by_its_threads_name() {
        let stat = |name| format!("71 ({name}) S 1 1 0 0 -1 4194304 5 6 7 8 123 45 0 0 20 0 9");
        assert_eq!(parse_stat(&stat("reactor-3")), Some((3, 1680)));
        for other in ["control", "reactor-", "reactor-x", ") reactor-1"] {
            assert_eq!(parse_stat(&stat(other)), None, "{other}");
        }
        assert_eq!(parse_stat("71 (reactor-3) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn the_time_of_a_thread_grows_with_its_work() {
        let worker = std::thread::Builder::new().name("reactor-1".to_owned());
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let worker = worker
            .spawn(move || while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {})
            .expect("starts");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while cpu_ms(Path::new(TASKS), 2)[1].unwrap_or_default() < 50 {
            assert!(
                std::time::Instant::now() < deadline,
                "its time does not grow"
            );
        }
        assert_eq!(
            cpu_ms(Path::new(TASKS), 2)[0],
            None,
            "there is no such thread"
        );
        assert_eq!(cpu_ms(Path::new("/nowhere"), 1), [None]);
        stop.send(()).expect("it waits");
        worker.join().expect("it ends");
    }
}
