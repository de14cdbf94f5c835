//! What clients ask the application for.

use std::borrow::Cow;

use super::codes::{self, Disconnect};
use super::reply::Lines;
use super::request::{Data, Rpc};
use super::step::Step;
use crate::dialect::{Command, RpcAnswer};
use crate::json::Text;

/// A client asks the application for something.
pub(super) fn handle_rpc<'a>(
    id: u32,
    rpc: Rpc<'a>,
    lines: &mut Lines<'_>,
) -> Result<Step<'a>, Disconnect> {
    let Rpc { method, data } = rpc;
    let method = method.map_or(Cow::Borrowed(""), |Text(method)| method);
    if method.len() > METHOD_BYTES_MAX {
        lines.error(id, codes::BAD_REQUEST);
        return Ok(Step::Done);
    }
    Ok(Step::Command(Command::Rpc {
        method,
        data: data.map(Data::into_json),
        token: u64::from(id),
    }))
}

/// What the application says.
pub(super) fn on_rpc(id: u32, answer: &RpcAnswer, lines: &mut Lines<'_>) {
    match answer {
        RpcAnswer::Result(data) => lines.called(id, data.as_deref()),
        RpcAnswer::Error {
            code,
            message,
            is_temporary,
        } => lines.error_of_application(id, (*code, message), *is_temporary),
        RpcAnswer::Unavailable => lines.error(id, codes::INTERNAL),
        RpcAnswer::NotServed => lines.error(id, codes::NOT_AVAILABLE),
    }
}

/// Longest name of a method: it is for a program of the application to tell methods apart.
const METHOD_BYTES_MAX: usize = 255;
