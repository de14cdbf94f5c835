//! Who is in a channel.

use axum::http::StatusCode;
use axum::response::Response;
use roost_net::ConnKey;
use roost_reactor::{Member, Presence, PresenceCounts, PresenceView, Request};
use serde::Serialize;
use serde_json::value::RawValue;

use super::access::{Action, decide};
use super::body::answer_json;
use super::call::Call;
use super::connections::name_of;
use super::problem::{Kind, Problem};
use super::publication::check_name;
use crate::peer::Reply;

/// Who is in a channel, as answers have it.
#[derive(Serialize)]
struct View<'a> {
    channel: &'a str,
    num_clients: u32,
    num_users: u32,
    /// Not all are listed.
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<Listed<'a>>>,
}

#[derive(Serialize)]
struct Listed<'a> {
    client: String,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conn_info: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chan_info: Option<Box<RawValue>>,
}

/// `GET /v1/presence` and `GET /v1/presence_stats`.
pub(super) async fn read(
    call: &Call,
    query: Option<&str>,
    counts_only: bool,
) -> Result<Response, Problem> {
    let mut channel = None;
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "channel" => channel = Some(value.into_owned()),
            _ => return Err(Problem::invalid("the query takes channel alone")),
        }
    }
    let channel = channel.ok_or_else(|| Problem::invalid("the query names no channel"))?;
    let view = view_of(call, &channel, counts_only).await?;
    let PresenceCounts { clients, users, .. } = view.counts;
    let members = view.members.iter().map(Listed::of);
    let view = View {
        channel: &channel,
        num_clients: clients,
        num_users: users,
        truncated: view.is_truncated,
        members: (!counts_only && !view.is_truncated).then(|| members.collect()),
    };
    answer_json(StatusCode::OK, &view)
}

/// Who is in a channel, if the caller may know.
pub(super) async fn view_of(
    call: &Call,
    channel: &str,
    counts_only: bool,
) -> Result<PresenceView, Problem> {
    check_name(call, channel)?;
    decide(&call.caller, Action::Presence(channel))?;
    let settings = call.api.shared.settings();
    if settings.channels.of(channel).presence == Presence::Off {
        let detail = "the channel's namespace keeps no presence (presence = \"off\")";
        return Err(Problem::new(Kind::NotFound, detail));
    }
    let home = call.api.peer.home_of(channel);
    let asked = Request::Presence {
        channel: channel.into(),
        counts_only,
    };
    let sent = call.api.peer.ask(home, asked)?;
    match sent.answer_by(call.deadline).await? {
        Reply::Presence(view) => Ok(view),
        _ => {
            debug_assert!(false, "a reactor answers what it was asked");
            let detail = "a reactor has answered something else";
            Err(Problem::new(Kind::Internal, detail))
        }
    }
}

/// The connection of a member, by the name that other requests take.
pub(super) fn client_of(member: &Member) -> String {
    let key = ConnKey::new(member.who.0, member.generation);
    name_of(usize::from(member.reactor.0), key)
}

/// What is known of a member beside its user, each a JSON value.
pub(super) fn infos_of(member: &Member) -> [(&'static str, Option<&str>); 2] {
    let info = member.info.as_deref();
    [
        (
            "conn_info",
            info.and_then(|info| info.connection.as_deref()),
        ),
        ("chan_info", info.and_then(|info| info.channel.as_deref())),
    ]
}

impl Listed<'_> {
    fn of(member: &Member) -> Listed<'_> {
        let [(_, conn_info), (_, chan_info)] = infos_of(member);
        let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
        Listed {
            client: client_of(member),
            user: &member.user,
            conn_info: conn_info.and_then(raw),
            chan_info: chan_info.and_then(raw),
        }
    }
}
