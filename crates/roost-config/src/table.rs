//! The table of keys, one row a key: its type with its bounds, its default, an example, whether a
//! reload can change it, which key it follows where it is not written, and its explanation. The
//! structures of the effective configuration are made from the rows, and so is everything that
//! reads, writes, inherits or documents keys.
//!
//! A key has the name of its field, without `_ms`: a time is written with its unit.

use crate::row::Visitor;

mod api;
mod auth;
mod channels;
mod dialects;
mod drivers;
mod events;
mod hooks;
mod limits;
mod listener;
mod process;
mod pusher;
mod tls;
mod users;

pub use api::Api;
pub use auth::{Auth, Expiry, Jwt, Subject};
pub use channels::{
    Access, ChannelPolicy, Delta, JoinLeave, Namespace, Presence, Publish, Readers, Recovery,
    SlowConsumer,
};
pub use dialects::{Centrifugo, Deflate, Echo, Raw, Soap, Sse, Wamp};
pub use drivers::{Epoll, IoUring};
pub use events::EventsTo;
pub use hooks::{Hook, OnFailure};
pub use limits::{ClientRatePolicy, Limits};
pub use listener::{ClientSocketMode, ForwardedBy, Listener, ProxyProtocol};
pub use process::{Admin, Driver, Log, LogFormat, LogLevel, Server, SocketMode};
pub(crate) use pusher::{APPS_MAX, WEBHOOKS_MAX};
pub use pusher::{Pusher, PusherApp, PusherWebhook, WebhookValues};
pub use tls::{ClientAuth, ClientUser, MinVersion, Tls};
pub(crate) use users::REALMS_MAX;
pub use users::{Matching, WampPermission, WampRealm, WampUser};

pub(crate) use channels::{NAMESPACE, visit_namespace};
pub(crate) use listener::LISTENERS_MAX;
pub(crate) use users::ENTRIES_MAX;

/// The effective configuration: plain values, each with its unit in its name. `Default` gives the
/// defaults for production, which `config/roost.toml` repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `[server]`.
    pub server: Server,
    /// `[[listener]]`, in the order written: at least one. No two have the same name or address.
    pub listeners: Vec<Listener>,
    /// `[limits]`.
    pub limits: Limits,
    /// `[epoll]`.
    pub epoll: Epoll,
    /// `[io_uring]`.
    pub io_uring: IoUring,
    /// `[raw]`.
    pub raw: Raw,
    /// `[echo]`.
    pub echo: Echo,
    /// `[wamp]`.
    pub wamp: Wamp,
    /// `[soap]`.
    pub soap: Soap,
    /// `[centrifugo]`.
    pub centrifugo: Centrifugo,
    /// `[pusher]`.
    pub pusher: Pusher,
    /// `[sse]`.
    pub sse: Sse,
    /// `[deflate]`.
    pub deflate: Deflate,
    /// `[auth]`.
    pub auth: Auth,
    /// `[admin]`.
    pub admin: Admin,
    /// `[api]`.
    pub api: Api,
    /// `[events]`.
    pub events: EventsTo,
    /// `[log]`.
    pub log: Log,
    /// `[channels]`.
    pub channels: ChannelPolicy,
    /// `[[namespace]]`, in the order written. No two have the same name.
    pub namespaces: Vec<Namespace>,
    /// `[[wamp.realm]]`, in the order written.
    pub wamp_realms: Vec<WampRealm>,
    /// `[[wamp.user]]`, in the order written.
    pub wamp_users: Vec<WampUser>,
    /// `[[wamp.permission]]`, in the order written.
    pub wamp_permissions: Vec<WampPermission>,
    /// `[[pusher.app]]`, in the order written. No two have the same id, key or prefix.
    pub pusher_apps: Vec<PusherApp>,
    /// `[[pusher.webhook]]`, in the order written. Each names an application that there is.
    pub pusher_webhooks: Vec<PusherWebhook>,
    /// `[[hook]]`, in the order written.
    pub hooks: Vec<Hook>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            server: Server::default(),
            listeners: vec![Listener::default()],
            limits: Limits::default(),
            epoll: Epoll::default(),
            io_uring: IoUring::default(),
            raw: Raw::default(),
            echo: Echo::default(),
            wamp: Wamp::default(),
            soap: Soap::default(),
            centrifugo: Centrifugo::default(),
            pusher: Pusher::default(),
            sse: Sse::default(),
            deflate: Deflate::default(),
            auth: Auth::default(),
            admin: Admin::default(),
            api: Api::default(),
            events: EventsTo::default(),
            log: Log::default(),
            channels: ChannelPolicy::default(),
            namespaces: Vec::new(),
            wamp_realms: Vec::new(),
            wamp_users: Vec::new(),
            wamp_permissions: Vec::new(),
            pusher_apps: Vec::new(),
            pusher_webhooks: Vec::new(),
            hooks: Vec::new(),
        }
    }
}

/// What the keys of entry `index` are called before the dot: `listener` of the first, for it is the
/// one that the command line and the environment set; `listener[1]`.
pub(crate) fn entry_path(section: &str, index: usize) -> String {
    match index {
        0 if section == Listener::SECTION.name => section.to_owned(),
        _ => format!("{section}[{index}]"),
    }
}

/// What the keys of a section inside another are called before their last dot, after those of the
/// other: `listener[1].tls`.
pub(crate) fn nested_path(outer: &str, section: &'static str) -> String {
    format!("{outer}.{}", nested_name(section))
}

/// The name of a section inside another: `tls` of `listener.tls`.
pub(crate) fn nested_name(section: &'static str) -> &'static str {
    section.rsplit('.').next().unwrap_or(section)
}

/// A section as its header is written.
pub(crate) fn header(section: &str) -> String {
    let of_several = [
        Listener::SECTION.name,
        NAMESPACE.name,
        WampRealm::SECTION.name,
        WampUser::SECTION.name,
        WampPermission::SECTION.name,
        PusherApp::SECTION.name,
        PusherWebhook::SECTION.name,
        Hook::SECTION.name,
    ];
    if of_several.contains(&section) {
        format!("[[{section}]]")
    } else {
        format!("[{section}]")
    }
}

/// Shows every realm, user and permission, in sections inside `[wamp]`, every application and webhook of
/// `[pusher]`, and every hook.
pub(crate) fn visit_users(settings: &mut Settings, visitor: &mut impl Visitor) {
    for (index, realm) in settings.wamp_realms.iter_mut().enumerate() {
        visitor.open_entry(WampRealm::SECTION, index);
        realm.visit_keys(None, visitor);
        visitor.close();
    }
    for (index, user) in settings.wamp_users.iter_mut().enumerate() {
        visitor.open_entry(WampUser::SECTION, index);
        user.visit_keys(None, visitor);
        visitor.close();
    }
    for (index, permission) in settings.wamp_permissions.iter_mut().enumerate() {
        visitor.open_entry(WampPermission::SECTION, index);
        permission.visit_keys(None, visitor);
        visitor.close();
    }
    for (index, app) in settings.pusher_apps.iter_mut().enumerate() {
        visitor.open_entry(PusherApp::SECTION, index);
        app.visit_keys(None, visitor);
        visitor.close();
    }
    for (index, webhook) in settings.pusher_webhooks.iter_mut().enumerate() {
        visitor.open_entry(PusherWebhook::SECTION, index);
        webhook.visit_keys(None, visitor);
        visitor.close();
    }
    for (index, hook) in settings.hooks.iter_mut().enumerate() {
        visitor.open_entry(Hook::SECTION, index);
        hook.visit_keys(None, visitor);
        visitor.close();
    }
}

/// Shows every section but the namespaces, which [`visit_namespace`] does one by one, and what
/// [`visit_users`] does, in the order of the documentation.
pub(crate) fn visit(settings: &mut Settings, visitor: &mut impl Visitor) {
    // Every field is named, so that a section that is not shown does not compile.
    let Settings {
        server,
        listeners,
        limits,
        epoll,
        io_uring,
        raw,
        echo,
        wamp,
        soap,
        centrifugo,
        pusher,
        sse,
        deflate,
        auth,
        admin,
        api,
        events,
        log,
        channels,
        namespaces: _,
        wamp_realms: _,
        wamp_users: _,
        wamp_permissions: _,
        pusher_apps: _,
        pusher_webhooks: _,
        hooks: _,
    } = settings;
    macro_rules! show {
        ($($field:ident: $Section:ident),+) => {$(
            visitor.open($Section::SECTION);
            $field.visit_keys(None, visitor);
            visitor.close();
        )+};
    }
    show!(server: Server);
    for (index, listener) in listeners.iter_mut().enumerate() {
        visitor.open_entry(Listener::SECTION, index);
        listener.visit_keys(None, visitor);
        visitor.close();
    }
    show!(
        limits: Limits,
        epoll: Epoll,
        io_uring: IoUring,
        raw: Raw,
        echo: Echo,
        wamp: Wamp,
        soap: Soap,
        centrifugo: Centrifugo,
        pusher: Pusher,
        sse: Sse,
        deflate: Deflate,
        auth: Auth,
        admin: Admin,
        api: Api,
        events: EventsTo,
        log: Log,
        channels: ChannelPolicy
    );
}
