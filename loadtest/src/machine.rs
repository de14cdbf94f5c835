//! What `/proc` says: the machine, its limits, a process's memory and CPU time, the kernel's
//! memory. Nothing here needs a privilege but `/proc/slabinfo`, which root may read.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

/// The machine a run was made on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors this process may use.
    pub cores: usize,
    /// Model of the first processor.
    pub processor: String,
    /// Memory in all, in bytes.
    pub memory_bytes: u64,
    /// Memory that could be had at the start, in bytes.
    pub memory_available_bytes: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// RLIMIT_NOFILE of this process.
    pub open_files: u64,
    /// Open files the whole system may have.
    pub open_files_system: u64,
    /// Source ports of one pair of addresses.
    pub ports: u64,
}

impl Machine {
    /// Reads it, raising the soft limit on open files first.
    pub fn read() -> Machine {
        let meminfo = read("/proc/meminfo");
        let cpuinfo = read("/proc/cpuinfo");
        let processor = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: processor.unwrap_or_default(),
            memory_bytes: kilobytes(&meminfo, "MemTotal:"),
            memory_available_bytes: kilobytes(&meminfo, "MemAvailable:"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            open_files: roost_net::limits::raise_open_files().unwrap_or(1_024),
            open_files_system: number(&read("/proc/sys/fs/file-max")),
            ports: port_range(&read("/proc/sys/net/ipv4/ip_local_port_range")),
        }
    }
}

/// A process and those below it, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Proportional set size, in bytes.
    pub pss_bytes: u64,
    /// CPU time since its start, user and system, in seconds.
    pub cpu_seconds: f64,
}

/// Reads a process with its children and theirs; `None` when there is none, or it may not be read.
/// A child that has ended is no longer in the sum.
pub fn process(pid: u32) -> Option<Process> {
    let mut all = Process {
        pss_bytes: pss_bytes(&pid.to_string())?,
        cpu_seconds: cpu_seconds(pid)?,
    };
    for pid in below(pid, &parents()) {
        all.pss_bytes += pss_bytes(&pid.to_string()).unwrap_or(0);
        all.cpu_seconds += cpu_seconds(pid).unwrap_or(0.0);
    }
    Some(all)
}

/// CPU time of a process and of each below it, at one moment.
#[derive(Debug, Clone)]
pub struct CpuTimes(BTreeMap<u32, f64>);

impl CpuTimes {
    /// Reads them; `None` when there is no such process.
    pub fn read(pid: u32) -> Option<CpuTimes> {
        let mut all = BTreeMap::from([(pid, cpu_seconds(pid)?)]);
        let below = below(pid, &parents());
        all.extend(
            below
                .into_iter()
                .filter_map(|pid| Some((pid, cpu_seconds(pid)?))),
        );
        Some(CpuTimes(all))
    }

    /// What they have taken since `before`, in seconds. A child that has ended meanwhile is not in it, and
    /// takes nothing from it.
    pub fn since(&self, before: &CpuTimes) -> f64 {
        let spent = self.0.iter().map(|(pid, now)| {
            let before = before.0.get(pid).filter(|before| *before <= now);
            now - before.copied().unwrap_or(0.0)
        });
        spent.sum()
    }
}

/// Every process and its parent.
fn parents() -> Vec<(u32, u32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, parent_of_stat(&stat)?))
    })
    .collect()
}

/// The children of `pid`, and theirs.
fn below(pid: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = parents.iter().filter(|(_, of)| *of == parent);
        // A pid that was taken anew while this was read could close a circle.
        let children: Vec<u32> = children.map(|&(child, _)| child).collect();
        found.extend(children.into_iter().filter(|child| *child != pid));
        next += 1;
    }
    found.split_off(1)
}

/// CPU time of this process, in seconds.
pub fn own_cpu_seconds() -> f64 {
    cpu_seconds(std::process::id()).unwrap_or(0.0)
}

/// PSS of this process, in bytes.
pub fn own_pss_bytes() -> Option<u64> {
    pss_bytes("self")
}

/// The kernel's slab, in bytes.
pub fn slab_bytes() -> u64 {
    kilobytes(&read("/proc/meminfo"), "Slab:")
}

fn pss_bytes(pid: &str) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(kilobytes(&rollup, "Pss:"))
}

fn cpu_seconds(pid: u32) -> Option<f64> {
    Some(roost_net::process::cpu_time(pid)?.as_secs_f64())
}

/// Field 4 of proc_pid_stat(5); the second is the name in parentheses, which may hold anything.
fn parent_of_stat(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

/// The kernel's memory at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Slab, in bytes.
    pub slab_bytes: u64,
    /// TCP sockets in use.
    pub tcp_sockets: u64,
    /// TCP sockets in TIME_WAIT.
    pub tcp_time_wait: u64,
    /// Pages of TCP's buffers.
    pub tcp_pages: u64,
    /// Objects in use and bytes of each object, by slab cache; empty if they may not be read.
    pub caches: BTreeMap<String, (u64, u64)>,
}

impl Kernel {
    /// Reads it.
    pub fn read() -> Kernel {
        let sockstat = read("/proc/net/sockstat");
        let tcp = sockstat.lines().find(|line| line.starts_with("TCP:"));
        let tcp_field = |name: &str| {
            let mut fields = tcp.unwrap_or_default().split_whitespace();
            fields.find(|field| *field == name);
            fields.next().map_or(0, number)
        };
        Kernel {
            slab_bytes: slab_bytes(),
            tcp_sockets: tcp_field("inuse"),
            tcp_time_wait: tcp_field("tw"),
            tcp_pages: tcp_field("mem"),
            caches: slab_caches(&read("/proc/slabinfo")),
        }
    }

    /// Caches that grew since `before`, the largest first: name, objects more, bytes more.
    pub fn grown(&self, before: &Kernel) -> Vec<(String, u64, u64)> {
        let mut grown: Vec<_> = self
            .caches
            .iter()
            .filter_map(|(name, &(objects, size))| {
                let was = before.caches.get(name).map_or(0, |cache| cache.0);
                let more = objects.checked_sub(was).filter(|more| *more > 0)?;
                Some((name.clone(), more, more * size))
            })
            .collect();
        grown.sort_by_key(|cache| std::cmp::Reverse(cache.2));
        grown
    }
}

fn slab_caches(slabinfo: &str) -> BTreeMap<String, (u64, u64)> {
    slabinfo
        .lines()
        .filter(|line| !line.starts_with("slabinfo") && !line.starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let name = fields.next()?;
            let active = fields.next()?.parse().ok()?;
            let size = fields.nth(1)?.parse().ok()?;
            Some((name.to_owned(), (active, size)))
        })
        .collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// The value in bytes of a line like `MemTotal:  24000 kB`.
fn kilobytes(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .map_or(0, |value| number(value) * 1024)
}

fn port_range(text: &str) -> u64 {
    let mut ends = text.split_whitespace().map(number);
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) if last >= first => last - first + 1,
        _ => 28_232,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_and_theirs_are_found_and_no_others() {
        let stat = "42 (a ) b) S 7 42 42 0 -1 4194560";
        assert_eq!(parent_of_stat(stat), Some(7));
        let parents = [(2, 1), (3, 1), (4, 2), (5, 4), (6, 3), (1, 0)];
        assert_eq!(below(2, &parents), [4, 5]);
        assert!(below(6, &parents).is_empty());
        // 8 and 9 call each other their child.
        assert_eq!(below(8, &[(9, 8), (8, 9)]), [9]);
    }

    #[test]
    fn slab_caches_give_objects_and_sizes() {
        let text = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize>\n\
                    TCP 120 130 2432 13 8 : tunables 0 0 0 : slabdata 10 10 0\n";
        assert_eq!(slab_caches(text).get("TCP"), Some(&(120, 2432)));
    }

    #[test]
    fn a_child_that_has_ended_takes_no_time_away() {
        let times = |all: &[(u32, f64)]| CpuTimes(all.iter().copied().collect());
        let before = times(&[(1, 2.0), (2, 8.0), (3, 5.0)]);
        // 2 has ended, 3 is another with its number, 4 is new.
        let now = times(&[(1, 2.5), (3, 0.25), (4, 1.0)]);
        assert_eq!(now.since(&before), 1.75);
        let own = CpuTimes::read(std::process::id()).expect("this process exists");
        assert!(own.since(&times(&[])) > 0.0);
    }

    #[test]
    fn this_machine_can_be_read() {
        let machine = Machine::read();
        assert!(machine.cores > 0 && machine.memory_bytes > 0 && !machine.kernel.is_empty());
        let own = process(std::process::id()).expect("this process exists");
        assert!(own.pss_bytes > 0 && own.cpu_seconds > 0.0);
    }
}
