//! The rings' threads: which connections are on which, how they start, how they get commands.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use roost_net::{Driver, Waker};

use crate::plan::{Plan, Role};
use crate::ring::{Command, Ring, Share};
use crate::shared::Shared;

/// A ring's thread.
pub(super) struct Handle {
    commands: Sender<Command>,
    pub(super) waker: Waker,
    pub(super) thread: JoinHandle<io::Result<()>>,
}

impl Handle {
    pub(super) fn tell(&self, command: Command) {
        // A ring that has ended is found out by its missing answer.
        let _ = self.commands.send(command);
        self.waker.wake();
    }
}

/// Deals the groups out to rings: listeners to all of them, those with something to do to as many
/// rings as there are cores, so that their latencies are not those of waiting for a core.
pub(super) fn lay_out(plan: &Plan, rings: usize, cores: usize) -> Vec<Vec<Share>> {
    let mut layout = vec![Vec::new(); rings];
    let mut slots = vec![0u32; rings];
    for (index, group) in plan.groups.iter().enumerate() {
        let over = match group.role {
            Role::Listen => rings,
            Role::Publish(_) | Role::Echo(_) => rings.min(cores.max(1)),
        } as u64;
        let count = u64::from(group.count);
        for ring in 0..over {
            let (start, end) = (count * ring / over, count * (ring + 1) / over);
            let ring = ring as usize;
            if end > start {
                let here = (end - start) as u32;
                layout[ring].push(Share {
                    group: index,
                    slot: slots[ring],
                    count: here,
                    member: start as u32,
                });
                slots[ring] += here;
            }
        }
    }
    layout
}

pub(super) fn start_ring<D, F>(
    id: usize,
    (plan, shared): (Arc<Plan>, Arc<Shared>),
    shares: Vec<Share>,
    make_driver: F,
) -> io::Result<Handle>
where
    D: Driver,
    F: FnOnce() -> io::Result<D> + Send + 'static,
{
    let (commands, orders) = mpsc::channel();
    let (started, start) = mpsc::channel();
    let thread = thread::Builder::new()
        .name(format!("ring-{id}"))
        .spawn(move || {
            let driver = match make_driver() {
                Ok(driver) => driver,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return Ok(());
                }
            };
            let _ = started.send(Ok(driver.waker()));
            Ring::new(driver, id, plan, shared, shares, orders).run()
        })?;
    let waker = start
        .recv()
        .map_err(|_| io::Error::other("the thread ended at its start"))??;
    Ok(Handle {
        commands,
        waker,
        thread,
    })
}
