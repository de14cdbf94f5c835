//! What a reload changes of what the control thread serves: keys of the API, of tokens, and hooks.

use roost_auth::PusherApp;
use roost_tokens::Checker;

use crate::api::{ApiKey, ApiKeys, PusherApps};
use crate::hook::Hook;
use crate::hook_inputs::{Input, ToHooks};
use crate::token_jobs::{Job, ToThread};

/// Puts other keys and hooks in place, from any thread and at once. None of it can fail.
#[derive(Clone)]
pub struct ControlReloader {
    keys: ApiKeys,
    pusher: PusherApps,
    tokens: Option<ToThread>,
    hooks: ToHooks,
}

impl ControlReloader {
    pub(crate) fn new(
        (keys, pusher): (ApiKeys, PusherApps),
        tokens: Option<ToThread>,
        hooks: ToHooks,
    ) -> ControlReloader {
        ControlReloader {
            keys,
            pusher,
            tokens,
            hooks,
        }
    }

    /// Requests to the API that come from now on have to carry one of these keys.
    pub fn set_api_keys(&self, keys: Vec<ApiKey>) {
        self.keys.set(keys);
    }

    /// Requests to Pusher's API are signed by one of these applications from now on.
    pub fn set_pusher_apps(&self, apps: Vec<PusherApp>) {
        self.pusher.set(apps);
    }

    /// Tokens are checked with these keys and rules from now on. Those of the JWKS stay.
    pub fn set_tokens(&self, checker: Checker) {
        if let Some(tokens) = &self.tokens {
            tokens.send(Job::Replace(Box::new(checker)));
        }
    }

    /// Applications are asked by these hooks from now on. One that is as it was goes on, with what it
    /// remembers; questions that another was asked are still answered by it.
    pub fn set_hooks(&self, hooks: Vec<Hook>) {
        let _ = self.hooks.send(Input::Hooks(hooks)); // the control thread may have ended
    }
}
