//! A client that subscribes: whether it may, and what is asked for then.

use std::sync::Arc;

use roost_access::UserName;
use roost_auth::PusherApp;
use roost_hub::{MemberInfo, Since};

use super::Settings;
use super::codes::{self, Refused};
use super::kind::{Kind, SERVER_TO_USER};
use super::request::{self, Subscribe};
use super::session::{Pending, Session};
use super::socket_id::socket_id;
use crate::check_channel_name;
use crate::dialect::{Grant, SubscribeTo};

/// A subscription that is to be asked for.
pub(super) struct Asked {
    pub(super) pending: Pending,
    pub(super) what: SubscribeTo<'static>,
    /// The application has signed it.
    pub(super) grant: Option<Grant>,
}

/// What is to be asked for, under this token.
pub(super) fn ask(
    session: &Session,
    (settings, app): (&Settings, &PusherApp),
    subscribe: &Subscribe,
    token: u64,
) -> Result<Asked, Refused> {
    let channel = subscribe.channel.as_str();
    let name = whole_name(settings, app, channel).ok_or(codes::BAD_NAME)?;
    if session.len() >= settings.subscriptions_per_connection_max {
        return Err(codes::TOO_MANY_CHANNELS);
    }
    let kind = Kind::of(channel);
    let of_user = channel.strip_prefix(SERVER_TO_USER);
    if of_user.is_some_and(|user| user.is_empty() || user != session.user()) {
        return Err(codes::OTHER_USER);
    }
    if kind.is_private && !is_signed(session, app, subscribe) {
        return Err(codes::BAD_SIGNATURE);
    }
    let member = match kind.has_members {
        true => Some(member(subscribe, settings.member_bytes_max)?),
        false => None,
    };
    let is_granted = kind.is_private || of_user.is_some();
    let what = match kind {
        Kind {
            is_cached: true, ..
        } => SubscribeTo::Since(name.clone().into(), Since::Latest(None)),
        // The home answers: nothing is delivered before.
        Kind {
            has_members: true, ..
        } => SubscribeTo::Since(name.clone().into(), Since::Last(0)),
        _ => SubscribeTo::Channel(name.clone().into()),
    };
    Ok(Asked {
        pending: Pending {
            token,
            name: name.into(),
            channel: None,
            kind,
            member,
            cached: None,
        },
        what,
        grant: is_granted.then_some(Grant { expires_in_s: None }),
    })
}

/// The name of a channel outside of the application; `None`: it can be none of its channels.
pub(super) fn whole_name(settings: &Settings, app: &PusherApp, channel: &str) -> Option<String> {
    let name = format!("{}{channel}", app.prefix);
    let is_fit = !channel.is_empty()
        && channel.chars().count() <= NAME_CHARS_MAX
        && check_channel_name(&name, settings.channel_name_bytes_max).is_ok()
        && !(app.prefix.is_empty() && settings.has_prefix(&name));
    is_fit.then_some(name)
}

/// Whether `auth` is the application's key and its signature of what is asked.
fn is_signed(session: &Session, app: &PusherApp, subscribe: &Subscribe) -> bool {
    let Subscribe {
        channel,
        auth,
        channel_data,
    } = subscribe;
    let signature = auth.as_deref().and_then(|auth| signature(app, auth));
    signature.is_some_and(|signature| {
        let socket_id = socket_id(session.client);
        let data = channel_data.as_deref();
        app.signing
            .verifies_channel(signature, &socket_id, channel, data)
    })
}

/// What stands behind the application's key.
pub(super) fn signature<'a>(app: &PusherApp, auth: &'a str) -> Option<&'a str> {
    auth.strip_prefix(&*app.key)?.strip_prefix(':')
}

/// As whom a client joins a presence channel.
fn member(
    subscribe: &Subscribe,
    bytes_max: usize,
) -> Result<(UserName, Option<Arc<MemberInfo>>), Refused> {
    let data = subscribe.channel_data.as_deref();
    let member = data.and_then(request::member).ok_or(codes::BAD_MEMBER)?;
    let info = member.user_info;
    if info.as_ref().is_some_and(|info| info.len() > bytes_max) {
        return Err(codes::MEMBER_SIZE);
    }
    let has_number = member.has_number;
    let info = (info.is_some() || has_number).then(|| {
        Arc::new(MemberInfo {
            connection: None,
            channel: info,
            has_number,
        })
    });
    Ok((member.user_id.into(), info))
}

/// As Pusher's own libraries have it.
const NAME_CHARS_MAX: usize = 200;
