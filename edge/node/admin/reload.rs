//! `POST /reload` and `GET /config`: the settings in effect, read again or shown.

use super::answer::{Answer, Refused, json};
use crate::assemble;
use crate::http::reply::Reply;
use crate::node::Node;
use http::StatusCode;
use serde_json::json;
use std::sync::Arc;

/// Reads the config file again. One that is wrong changes nothing.
pub(super) async fn reload(node: &Arc<Node>) -> Answer {
    if node.file.is_none() {
        return Err(Refused::new(
            StatusCode::CONFLICT,
            "this node runs without a config file; start it with `edge run --config FILE`",
        ));
    }
    let changes = assemble::reload(node)
        .await
        .map_err(|error| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, error))?;
    let answer = json!({ "applied": changes.applied, "needs_restart": changes.needs_restart });
    Ok(json(StatusCode::OK, answer))
}

/// The settings as the file has them, and which of them wait for a restart.
/// Secrets stand there as where they are kept.
pub(super) fn config(node: &Node) -> Reply {
    let file = node.file.as_ref().map(|file| file.display().to_string());
    let live = node.live.load();
    let answer = json!({
        "file": file,
        "toml": live.printed,
        "needs_restart": live.needs_restart,
    });
    json(StatusCode::OK, answer)
}
