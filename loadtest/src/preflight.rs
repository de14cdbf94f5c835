//! What the machine allows, said before anything is opened.

use roost_net::uring::{UringDriver, UringOptions};

use crate::machine::Machine;
use crate::plan::{DriverChoice, Plan};

/// How a run will be laid out, and whether it can fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// Sockets in direct slots of io_uring, so that each ring has the limit on open files to
    /// itself; otherwise epoll.
    pub uring: bool,
    /// Rings to use.
    pub rings: usize,
    /// Slots of each ring's table, with io_uring.
    pub slots: u32,
    /// What the machine allows, a line each.
    pub facts: Vec<String>,
    /// What forbids the run, each with its remedy.
    pub obstacles: Vec<String>,
}

/// Looks at limits on open files, ports and memory.
pub fn look(plan: &Plan, machine: &Machine) -> Preflight {
    let connections = plan.connections();
    let files_for_sockets = machine.open_files.saturating_sub(FILES_RESERVED);
    let uring_works = || {
        let options = UringOptions {
            direct_slots: Some(64),
            ..UringOptions::default()
        };
        UringDriver::new(&options).map(drop)
    };
    let mut facts = Vec::new();
    let mut obstacles = Vec::new();

    let wants_uring = match plan.settings.driver {
        DriverChoice::Epoll => false,
        DriverChoice::Uring => true,
        DriverChoice::Auto => connections > files_for_sockets || plan.wants_fine_waits(),
    };
    let uring = wants_uring
        && match uring_works() {
            Ok(()) => true,
            Err(error) => {
                facts.push(format!("io_uring does not run here: {error}"));
                if plan.settings.driver == DriverChoice::Uring {
                    obstacles.push("io_uring was asked for; use --driver epoll".to_owned());
                }
                false
            }
        };
    // The kernel's limit on a ring's table is that on open files.
    let slots = machine.open_files.saturating_sub(SLOTS_RESERVED).max(64);
    let each = if uring { slots } else { files_for_sockets };
    let needed = connections.div_ceil(each.max(1)).max(1) as usize;
    let rings = match plan.settings.rings {
        Some(rings) => rings.max(1),
        None if uring => needed,
        None => 1,
    };
    let fit = if uring {
        each * rings as u64
    } else {
        files_for_sockets
    };
    let how = if uring {
        format!("io_uring, {rings} rings of {slots} direct slots")
    } else {
        format!("epoll, {rings} ring(s)")
    };
    facts.push(format!(
        "open files: {} for this process: {fit} connections ({how})",
        machine.open_files
    ));
    if connections > fit {
        obstacles.push(if uring {
            format!("{connections} connections need {needed} rings: --rings {needed}")
        } else {
            format!(
                "{connections} connections need as many open files: raise the limit \
                 (ulimit -n {}, LimitNOFILE), or --driver io_uring",
                connections + FILES_RESERVED
            )
        });
    }

    let mut found = Preflight {
        uring,
        rings,
        slots: u32::try_from(slots).unwrap_or(u32::MAX),
        facts,
        obstacles,
    };
    found.look_at_ports(plan, machine);
    found.look_at_memory(plan, machine);
    found
}

impl Preflight {
    fn look_at_ports(&mut self, plan: &Plan, machine: &Machine) {
        let connections = plan.connections();
        let addresses = plan.target.addresses.len() as u64;
        let ports = machine.ports * addresses;
        self.facts.push(format!(
            "source ports: {} for each of {addresses} address(es): {ports} connections",
            machine.ports
        ));
        if connections > ports {
            self.obstacles.push(format!(
                "{connections} connections need more source ports: \
                 sysctl net.ipv4.ip_local_port_range=\"1024 65535\", or more --address"
            ));
        }
    }

    fn look_at_memory(&mut self, plan: &Plan, machine: &Machine) {
        let connections = plan.connections();
        let loopback = plan.target.addresses.iter().all(|a| a.ip().is_loopback());
        let (ends, each_bytes) = if loopback {
            ("both ends are here", 2 * SOCKET_BYTES)
        } else {
            ("one end is here", SOCKET_BYTES)
        };
        let memory = connections * each_bytes;
        self.facts.push(format!(
            "memory: {} available; the kernel takes about {} for {connections} connections ({ends}, \
             {SOCKET_BYTES} bytes a socket)",
            mebibytes(machine.memory_available_bytes),
            mebibytes(memory)
        ));
        if memory + MEMORY_RESERVED_BYTES > machine.memory_available_bytes {
            self.obstacles
                .push("that is not enough memory: fewer connections, or another machine".into());
        }
        let system = machine.open_files_system;
        let files = connections * if loopback { 2 } else { 1 };
        if system > 0 && files > system {
            self.obstacles.push(format!(
                "the system allows {system} open files in all: sysctl fs.file-max={files}"
            ));
        }
    }
}

/// Bytes as people read them.
pub fn mebibytes(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// The kernel's memory for one end of a quiet connection, in bytes: measured 3,829 bare and 256
/// for the watch.
const SOCKET_BYTES: u64 = 4_096;
/// What must be left for everything else.
const MEMORY_RESERVED_BYTES: u64 = 512 << 20;
const FILES_RESERVED: u64 = 64;
const SLOTS_RESERVED: u64 = 10;
