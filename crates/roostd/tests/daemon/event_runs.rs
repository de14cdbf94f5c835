//! The journal of events over the runs of a node, and beside an application of Pusher's.

use std::fs;

use serde_json::Value;

use crate::daemon::wait_until;
use crate::events::{Application, Manner, daemon_of, open};
use crate::reload::Config;

/// The bodies that the application has taken.
fn bodies(application: &Application) -> Vec<Value> {
    let batches = application.batches();
    let bodies = batches.iter().map(|batch| {
        let body = serde_json::from_slice(&batch.bytes);
        body.expect("JSON")
    });
    bodies.collect()
}

/// A process that is killed says nothing, and the next begins anew: with another epoch, and with the number 1.
#[test]
fn each_run_of_a_node_has_an_epoch_of_its_own() {
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux has it");
    let mut epochs = Vec::new();
    for run in 0..3 {
        let application = Application::start(Manner::Takes);
        let mut daemon = daemon_of("1", application.address, &[]);
        let _client = open(&daemon, "/raw/chat:1");
        application.wait_for("occupied", "channel", "chat:1");
        daemon.signal("KILL");
        assert!(!daemon.wait().success());
        let bodies = bodies(&application);
        let first = &bodies[0]["events"][0];
        let epoch = &bodies[0]["epoch"];
        assert_eq!(first["n"], 1);
        assert_eq!(first["type"], "node_started");
        assert_eq!(&first["epoch"], epoch, "run {run}");
        for body in &bodies {
            assert_eq!(&body["epoch"], epoch, "run {run}");
            assert_eq!(body["node"], machine.trim(), "it has no other name");
        }
        let kinds: Vec<Value> = application
            .events()
            .iter()
            .map(|event| event["type"].clone())
            .collect();
        assert!(!kinds.contains(&"disconnected".into()), "{kinds:?}");
        assert!(!epochs.contains(epoch), "{epochs:?}");
        epochs.push(epoch.clone());
    }
}

/// Reactors say what any application is told: each is told what it has asked for.
#[test]
fn an_application_is_told_of_its_own_namespaces_and_types_beside_others() {
    let [own, pushers] = [(); 2].map(|()| Application::start(Manner::Takes));
    let secret = Config::new("secret of the application");
    let config = Config::new(&format!(
        "[raw]\nenabled = true\n[events]\nurl = \"http://{}/\"\ntypes = [\"subscribed\"]\n\
         namespaces = [\"chat\"]\n[[namespace]]\nname = \"chat\"\n[server]\nreactors = 1\n[[pusher.app]]\nid = \"1\"\nkey = \"k\"\n\
         secret_file = \"{}\"\nwebhook_url = \"http://{}/\"\n",
        own.address,
        secret.0.display(),
        pushers.address
    ));
    let daemon = config.start();
    let _room = open(&daemon, "/raw/room");
    let _chatter = open(&daemon, "/raw/chatter:1");
    let _chat = open(&daemon, "/raw/chat:1");
    own.wait_for("subscribed", "channel", "chat:1");
    let events = own.events();
    let told: Vec<(&Value, &Value)> = events
        .iter()
        .map(|event| (&event["type"], &event["channel"]))
        .collect();
    let (started, subscribed) = (Value::from("node_started"), Value::from("subscribed"));
    let chat = Value::from("chat:1");
    assert_eq!(told, [(&started, &Value::Null), (&subscribed, &chat)]);
    // What else there was has reached the other one.
    wait_until(
        || {
            let bodies = bodies(&pushers);
            let events = bodies.iter().flat_map(|body| body["events"].as_array());
            events
                .flatten()
                .any(|event| event["channel"] == "chatter:1")
        },
        || format!("{:?}", bodies(&pushers)),
    );
}
