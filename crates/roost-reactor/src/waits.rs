//! What waits for an answer from elsewhere: when some of it has waited for too long, and what the control
//! thread is still to be sent.

use crate::authentication::send_checks;
use crate::call_outputs::keep_call_deadlines;
use crate::client_tokens::keep_check_deadlines;
use crate::core::Core;
use crate::grants;
use crate::hook_answers::keep_hook_deadlines;
use crate::hook_asks::send_calls;
use crate::journal::send_events;
use crate::logins::keep_login_deadlines;
use crate::presence::tell_if_due;

/// Sends tokens to be checked, questions to the application, and events.
#[cold]
pub(crate) fn send_to_control(core: &mut Core) {
    if core.token_checks.has_unsent() {
        send_checks(core);
    }
    if core.hook_calls.has_unsent() {
        send_calls(core);
    }
    send_events(core);
    core.has_for_control = core.has_unsent();
}

/// The tick at which something that waits for an answer from elsewhere has waited for too long, or earlier.
#[inline(always)] // two calls in each loop iteration: +25 instructions
pub(crate) fn waits_due(core: &Core) -> u32 {
    let answers = core.hook_calls.due().min(core.token_checks.due());
    let channels = core
        .channels
        .expiries_due()
        .min(core.channels.hub().presence_due());
    let answers = answers.min(channels);
    core.calls.due().min(core.logins.due()).min(answers)
}

/// Ends what has waited for too long.
#[cold]
pub(crate) fn keep_waits(core: &mut Core) {
    keep_call_deadlines(core);
    keep_login_deadlines(core);
    keep_hook_deadlines(core);
    keep_check_deadlines(core);
    grants::keep_deadlines(core);
    tell_if_due(core);
}
