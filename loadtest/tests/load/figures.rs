//! No figure of what was not held.

use roost_load::output::{Document, PhaseResult};

fn hold(change: impl FnOnce(&mut PhaseResult)) -> PhaseResult {
    let mut phase = PhaseResult {
        name: "hold".to_owned(),
        seconds: 10.0,
        held_before: Some(1_000),
        held: 1_000,
        server_cpu_seconds: Some(0.005),
        ..PhaseResult::default()
    };
    change(&mut phase);
    phase
}

#[test]
fn cpu_time_is_divided_by_connections_that_were_there_all_the_time() {
    let us = hold(|_| {}).server_us_per_connection_second();
    assert!((us.expect("nothing changed") - 0.5).abs() < 1e-9, "{us:?}");
    let changed: [fn(&mut PhaseResult); 6] = [
        |phase| phase.held_before = Some(999),
        |phase| phase.held_before = None,
        |phase| phase.lost = 1,
        |phase| phase.dropped = 1,
        |phase| phase.begun = 1,
        |phase| phase.closed = 1,
    ];
    for (index, change) in changed.into_iter().enumerate() {
        let phase = hold(change);
        assert_eq!(phase.server_us_per_connection_second(), None, "{index}");
        let document = Document {
            phases: vec![phase],
            ..Document::default()
        };
        let table = document.table();
        assert!(!table.contains("per connection and second"), "{table}");
    }
}
